//! What is there, held against what is expected of it.

pub(crate) mod glob;
pub(crate) mod partial;
