//! Tables that were added to a schema without a new number.
//!
//! A host refuses a store whose schema has a number that it does not know. So a number is for what the version before cannot live with;
//! tables of their own, which it never looks at, are added beside: its hosts go on, and can be started again, while versions are exchanged.

/// A group of tables.
pub(crate) struct Addition {
    /// The one that is made last: where it is, all are.
    pub(crate) table: &'static str,
    /// What makes them.
    pub(crate) postgres: &'static str,
    pub(crate) sqlite: &'static str,
}

pub(crate) const ADDITIONS: [Addition; 1] = [Addition {
    table: "team_runs",
    postgres: include_str!("../additions/postgres/teams.sql"),
    sqlite: include_str!("../additions/sqlite/teams.sql"),
}];
