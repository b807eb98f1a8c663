//! A backup put in the live database's place.
