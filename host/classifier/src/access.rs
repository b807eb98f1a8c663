//! The words in which a grant speaks about SQL, sets of them, and how bad a statement's effect can be.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

/// One access word of a `sql` grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SqlAccess {
    /// SELECT, VALUES, SHOW, EXPLAIN: nothing changes.
    Read,
    /// INSERT, UPDATE, DELETE, MERGE, TRUNCATE, row locks, sequences.
    Write,
    /// VACUUM, ANALYZE, CLUSTER, REINDEX, CHECKPOINT, REFRESH MATERIALIZED VIEW.
    Maintain,
    /// CREATE, ALTER and DROP INDEX.
    Index,
    /// Everything else that changes the schema, databases included.
    Ddl,
    /// Cancelling and terminating sessions (a typed verb; by statement only DROP DATABASE ... FORCE).
    Signal,
    /// Promoting a standby (a typed verb; no statement has it).
    Promote,
    /// COPY ... TO STDOUT.
    CopyOut,
    /// COPY ... FROM STDIN.
    CopyIn,
    /// ALTER SYSTEM SET and RESET of the parameters that the binding names, and having the server read its files again (a typed verb).
    AlterSystem,
}

impl SqlAccess {
    /// Every word, in the order of the contract.
    pub const ALL: [SqlAccess; 10] = [
        SqlAccess::Read,
        SqlAccess::Write,
        SqlAccess::Maintain,
        SqlAccess::Index,
        SqlAccess::Ddl,
        SqlAccess::Signal,
        SqlAccess::Promote,
        SqlAccess::CopyOut,
        SqlAccess::CopyIn,
        SqlAccess::AlterSystem,
    ];

    /// The word as the contract, configuration and command line write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            SqlAccess::Read => "read",
            SqlAccess::Write => "write",
            SqlAccess::Maintain => "maintain",
            SqlAccess::Index => "index",
            SqlAccess::Ddl => "ddl",
            SqlAccess::Signal => "signal",
            SqlAccess::Promote => "promote",
            SqlAccess::CopyOut => "copy-out",
            SqlAccess::CopyIn => "copy-in",
            SqlAccess::AlterSystem => "alter-system",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl fmt::Display for SqlAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that is no access.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown sql access \"{word}\"{}; the words are read, write, maintain, index, ddl, signal, promote, copy-out, copy-in and alter-system", suggestion(.nearest))]
pub struct UnknownAccess {
    /// What was written.
    pub word: String,
    /// The access that is spelled most like it.
    pub nearest: Option<SqlAccess>,
}

fn suggestion(nearest: &Option<SqlAccess>) -> String {
    nearest.map(|access| format!(" (did you mean {access}?)")).unwrap_or_default()
}

impl FromStr for SqlAccess {
    type Err = UnknownAccess;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        SqlAccess::ALL.into_iter().find(|access| access.as_str() == word).ok_or_else(|| UnknownAccess {
            word: word.to_owned(),
            nearest: SqlAccess::ALL
                .into_iter()
                .map(|access| (strsim::damerau_levenshtein(access.as_str(), word), access))
                .filter(|(distance, _)| *distance <= 2)
                .min()
                .map(|(_, access)| access),
        })
    }
}

/// A small set of accesses. Written `read + maintain`; in serde a list of words.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct AccessSet(u16);

impl AccessSet {
    /// The set without a member.
    pub const EMPTY: AccessSet = AccessSet(0);

    /// The set of all accesses.
    pub const ALL: AccessSet = AccessSet((1 << SqlAccess::ALL.len()) - 1);

    /// The set of one access.
    pub const fn of(access: SqlAccess) -> Self {
        AccessSet(access.bit())
    }

    /// Adds one access.
    pub fn insert(&mut self, access: SqlAccess) {
        self.0 |= access.bit();
    }

    /// Whether the access is a member.
    pub const fn contains(self, access: SqlAccess) -> bool {
        self.0 & access.bit() != 0
    }

    /// What is in either.
    #[must_use]
    pub const fn union(self, other: AccessSet) -> AccessSet {
        AccessSet(self.0 | other.0)
    }

    /// What is in `self` and not in `other`: a statement's accesses minus a grant's is what is missing.
    #[must_use]
    pub const fn difference(self, other: AccessSet) -> AccessSet {
        AccessSet(self.0 & !other.0)
    }

    /// Whether every member is also in `other`.
    pub const fn is_subset(self, other: AccessSet) -> bool {
        self.0 & !other.0 == 0
    }

    /// Whether there is no member.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The number of members.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The members, in the order of the contract.
    pub fn iter(self) -> impl Iterator<Item = SqlAccess> {
        SqlAccess::ALL.into_iter().filter(move |access| self.contains(*access))
    }
}

impl From<SqlAccess> for AccessSet {
    fn from(access: SqlAccess) -> Self {
        AccessSet::of(access)
    }
}

impl FromIterator<SqlAccess> for AccessSet {
    fn from_iter<I: IntoIterator<Item = SqlAccess>>(accesses: I) -> Self {
        let mut set = AccessSet::EMPTY;
        set.extend(accesses);
        set
    }
}

impl Extend<SqlAccess> for AccessSet {
    fn extend<I: IntoIterator<Item = SqlAccess>>(&mut self, accesses: I) {
        accesses.into_iter().for_each(|access| self.insert(access));
    }
}

impl fmt::Display for AccessSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        for (position, access) in self.iter().enumerate() {
            if position > 0 {
                f.write_str(" + ")?;
            }
            f.write_str(access.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for AccessSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for AccessSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for AccessSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<SqlAccess>::deserialize(deserializer).map(|accesses| accesses.into_iter().collect())
    }
}

/// How bad the worst thing is that a statement can do, as the contract's rule 5 counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EffectClass {
    /// Changes nothing: runs in plan mode too.
    Read,
    /// Changes something that can be put right.
    Write,
    /// Takes away data or objects.
    Destructive,
}

impl EffectClass {
    /// The class as records write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            EffectClass::Read => "read",
            EffectClass::Write => "write",
            EffectClass::Destructive => "destructive",
        }
    }
}

impl fmt::Display for EffectClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_there_and_back() {
        for access in SqlAccess::ALL {
            assert_eq!(access.to_string().parse::<SqlAccess>(), Ok(access));
        }
        assert_eq!(AccessSet::ALL.len(), SqlAccess::ALL.len());
    }

    #[test]
    fn an_unknown_word_names_the_nearest() {
        let error = "copyout".parse::<SqlAccess>().unwrap_err();
        assert_eq!(error.nearest, Some(SqlAccess::CopyOut));
        assert!(error.to_string().contains("did you mean copy-out?"), "{error}");
        assert_eq!("superuser".parse::<SqlAccess>().unwrap_err().nearest, None);
    }

    #[test]
    fn sets_behave_as_sets() {
        let set: AccessSet = [SqlAccess::Maintain, SqlAccess::Read].into_iter().collect();
        assert_eq!(set.to_string(), "read + maintain");
        assert_eq!(AccessSet::EMPTY.to_string(), "nothing");
        assert!(set.contains(SqlAccess::Read) && !set.contains(SqlAccess::Write));
        assert!(AccessSet::of(SqlAccess::Read).is_subset(set) && !set.is_subset(AccessSet::of(SqlAccess::Read)));
        assert_eq!(set.difference(AccessSet::of(SqlAccess::Read)), AccessSet::of(SqlAccess::Maintain));
        assert_eq!(set.union(SqlAccess::Ddl.into()).len(), 3);
    }
}
