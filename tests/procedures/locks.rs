//! Who blocks whom.
