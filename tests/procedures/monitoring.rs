//! Health and metrics, standbys included.
