//! One statement of the operator's.
