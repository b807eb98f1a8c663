//! Which modes of locks conflict: the table of PostgreSQL's manual (explicit locking).

/// The modes from the weakest to the strongest, and with which of them each conflicts.
const MODES: [(&str, [bool; 8]); 8] = [
    ("AccessShareLock", [false, false, false, false, false, false, false, true]),
    ("RowShareLock", [false, false, false, false, false, false, true, true]),
    ("RowExclusiveLock", [false, false, false, false, true, true, true, true]),
    ("ShareUpdateExclusiveLock", [false, false, false, true, true, true, true, true]),
    ("ShareLock", [false, false, true, true, false, true, true, true]),
    ("ShareRowExclusiveLock", [false, false, true, true, true, true, true, true]),
    ("ExclusiveLock", [false, true, true, true, true, true, true, true]),
    ("AccessExclusiveLock", [true; 8]),
];

/// Whether two modes conflict; modes that are not known (a later version's) are taken to.
pub(crate) fn conflict(one: &str, other: &str) -> bool {
    let place = |mode: &str| MODES.iter().position(|(name, _)| *name == mode);
    match (place(one), place(other)) {
        (Some(one), Some(other)) => MODES[one].1[other],
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflicts_are_mutual() {
        for (row, (one, with)) in MODES.iter().enumerate() {
            for (column, (other, _)) in MODES.iter().enumerate() {
                assert_eq!(with[column], MODES[column].1[row], "{one} {other}");
                assert_eq!(conflict(one, other), conflict(other, one));
            }
        }
        assert!(!conflict("RowExclusiveLock", "RowExclusiveLock") && conflict("SIReadLock?", "ShareLock"));
    }
}
