//! Disks of data and of WAL, and clearing an archive.
