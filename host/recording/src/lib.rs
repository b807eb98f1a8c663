//! Recordings: the capability calls of a run with their answers, from which it can be replayed.
//!
//! [`Recorder`] is the [`Record`](rota_capability::tape::Record) of a run: it writes a file while the run goes on. [`Reading`] reads such a
//! file, also one that breaks off because its process was killed; [`Player`] answers the calls of a replay from it
//! ([`Answers`](rota_capability::tape::Answers)), reaches no target, and says where the replay leaves the recording ([`Verdict`]). The format is
//! described in docs/recording-format.md.
//!
//! | bound | value | why |
//! | --- | --- | --- |
//! | lines that wait for the disk | 4 MiB | a run that is faster waits |
//! | time until a line is in the file | 50 ms | what a killed host leaves is readable up to there |
//! | a recording | what [`Recorder::begin`] is told | an artifact of a run must not fill a disk |
//! | recorded calls that a replay holds unmatched | 10,000 | a plugin that does something else is told so, in bounded memory |
//! | a line | [`LONGEST_LINE`], and [`HEAVIEST_LINE`] in memory | a recording is somebody's file: it must not take the reader's memory |
//! | what is read ahead | [`KEPT`] and one line | the same |

mod bounds;
mod clocks;
mod difference;
mod format;
mod player;
mod reading;
mod whole;
mod writer;

pub use bounds::{HEAVIEST_LINE, KEPT, LONGEST_LINE};
pub use difference::{Difference, lines_of};
pub use format::{End, FILE, FORMAT, Header, MEDIA_TYPE, Slot, Written, file_name};
pub use player::{Ending, Made, Player, Verdict};
pub use reading::{ReadError, Reading};
pub use whole::{Call, Whole};
pub use writer::{FLUSH, Finished, Recorder, WriteError};
