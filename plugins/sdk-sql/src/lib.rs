//! What the procedures that run an operator's own SQL share.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`kind`] | how a statement is run, by its first word |
//! | [`show`] | values between JSON, the server and a table; what a plan expects |

pub mod kind;
pub mod show;

pub use kind::Kind;
