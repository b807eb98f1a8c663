//! Settings computed from the memory there is.
