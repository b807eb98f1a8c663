//! Who is connected, and ending what may be ended.
