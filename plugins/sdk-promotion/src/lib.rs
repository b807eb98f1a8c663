//! What `postgres-failover` and `postgres-switchover` share.
//!
//! | module | what it is for |
//! | --- | --- |
//! | `node` | a standby as it describes itself: its address, its timeline, how far it is, whether it streams |
//! | `topology` | the Service, the pod and StatefulSet of the old primary, the pods of the standbys; who else owns them |
//! | `decision` | who is promoted in whose place: decided once for a run, whatever is killed meanwhile |
//! | `fence` | the old primary's StatefulSet to 0 and its pod seen gone |
//! | `promote` | the standby promoted, and the proof that it was |
//! | `service` | the Service's selector and its endpoints |
//! | `applications` | rolling restarts |
//! | `undo` | what becomes of a run that does not succeed |
//!
//! The order is what makes it safe, and each arrow is a point at which everything may be killed:
//!
//! 1. decide; register *bring back*; fence -> on failure: the old primary's StatefulSet gets its replicas back, the Service was never touched.
//! 2. register *finish*; dismiss *bring back*; promote; verify; move the Service -> on failure: forwards. A promotion cannot be taken back, so the
//!    undo promotes (again, which is harmless), verifies, and moves the Service; the old primary stays fenced.
//!
//! So there is no moment in which both may be started, and none in which the Service points to a server whose promotion was not verified.

mod applications;
mod decision;
mod fence;
mod node;
mod promote;
mod service;
mod topology;
mod undo;

pub use applications::{Application, Applications, restart};
pub use decision::{Decision, Look};
pub use fence::{fence, refuse_lost_node, still_fenced};
pub use node::{Candidate, Lsn, Standby, best, within};
pub use promote::{Promoted, Refused, promote, verify};
pub use service::{move_service, served, wait_served};
pub use topology::{LOCK_SECONDS, Primary, Topology, lock_name, pod_is_ready};
pub use undo::{Phase, Unfinished, finish_or_bring_back};
