//! What the PostgreSQL backup procedures share: where a backup's objects lie, what its manifest says, how it is verified, and
//! which backups may go. docs/backup-format.md is the same for people and other programs.
//!
//! Rules that everything here keeps:
//! - a backup exists only if its manifest does; the manifest is written last and deleted first;
//! - what was found damaged is never what makes another backup superfluous;
//! - a format that is newer than this version is refused, never guessed at.

pub mod bucket;
pub mod layout;
pub mod manifest;
pub mod retention;
pub mod rows;
pub mod tell;
pub mod verification;
pub mod verify;

pub use bucket::{Backup, Holding, look};
pub use layout::Folder;
pub use manifest::{Manifest, ManifestFault};
pub use verification::{Level, Problem, ProblemKind, Verification};
