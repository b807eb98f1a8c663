//! Cases: a plugin run against answers from a file, without any server, and what must come out.
