//! Recordings: the capability calls of a run with their answers, from which it can be replayed.
