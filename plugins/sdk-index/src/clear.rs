//! Removing what a build left behind, and nothing else.

use crate::catalog::Index;
use rota_sdk::Context;
use rota_sdk::prelude::*;
use std::time::Duration;

/// What a build may leave behind when it is cut off: kept by the run before it begins, so that whoever clears up knows what was there before.
#[data]
pub struct Leftover {
    /// The table's object id.
    pub table: i64,
    /// The name of the index that is built or rebuilt.
    pub name: String,
    /// The index that is rebuilt; none where a new one is built.
    pub rebuilds: Option<i64>,
    /// The indexes that the table had before: none of them is removed.
    pub before: Vec<i64>,
}

/// How long one pause lasts while somebody still builds.
const PAUSE: Duration = Duration::from_millis(200);

impl Leftover {
    /// Whether an index is what the build left: invalid, made since, and under the name that it would have.
    pub fn is(&self, index: &Index) -> bool {
        if index.valid || index.table_oid != self.table {
            return false;
        }
        match concurrent_stem(&index.name) {
            // The rebuilt index's old self, after the two were swapped.
            Some((stem, "_ccold")) if self.rebuilds == Some(index.oid) => self.has_stem(stem),
            _ if self.before.contains(&index.oid) => false,
            Some((stem, _)) if self.rebuilds.is_some() => self.has_stem(stem),
            _ => self.rebuilds.is_none() && index.name == self.name,
        }
    }

    /// PostgreSQL shortens a long name before it adds its ending.
    fn has_stem(&self, stem: &str) -> bool {
        stem == self.name || (stem.len() >= 50 && self.name.starts_with(stem))
    }

    /// What is left now.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn find(&self, session: &mut Session) -> Result<Vec<Index>> {
        Ok(Index::on_table(session, self.table).await?.into_iter().filter(|index| self.is(index)).collect())
    }

    /// Drop what is left, without locking writers out, and say what that was. An index that somebody is still building (the backend of a host that
    /// was killed goes on for some seconds) is waited for; one that turns out valid stays.
    ///
    /// # Errors
    /// When it cannot be dropped: it stays, INVALID.
    pub async fn clear(&self, cx: &Context, session: &mut Session) -> Result<Vec<String>> {
        session.configure("lock_timeout", "0").await?;
        let mut gone = Vec::new();
        loop {
            let left = self.find(session).await?;
            if let Some(building) = left.iter().find(|index| index.builder.is_some()) {
                if cx.deadline().seconds_since(cx.now()) < 2.0 {
                    let pid = building.builder.unwrap_or_default();
                    return Err(Error::new(format!("{} is still being built by pid {pid}", building.quoted)));
                }
                cx.sleep(PAUSE).await?;
                continue;
            }
            for index in &left {
                let seconds = cx.deadline().seconds_since(cx.now()).max(1.0);
                session.configure("statement_timeout", format!("{:.0}ms", seconds * 1000.0)).await?;
                session
                    .execute(sql!("DROP INDEX CONCURRENTLY IF EXISTS {}", index.quoted()?), params![])
                    .await
                    .with_context(|| format!("dropping {}, which is INVALID", index.quoted))?;
                gone.push(index.quoted.clone());
            }
            return Ok(gone);
        }
    }
}

/// `orders_idx_ccnew1` as `orders_idx` and `_ccnew`.
pub fn concurrent_stem(name: &str) -> Option<(&str, &'static str)> {
    let plain = name.trim_end_matches(|c: char| c.is_ascii_digit());
    ["_ccnew", "_ccold"].into_iter().find_map(|end| Some((plain.strip_suffix(end)?, end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(oid: i64, name: &str, valid: bool) -> Index {
        crate::mock::index("t", name, "k", |index| {
            (index.oid, index.table_oid, index.valid, index.ready) = (oid, 1, valid, valid)
        })
    }

    #[test]
    fn a_new_build_removes_its_own_index_alone() {
        let left = Leftover { table: 1, name: "a_idx".to_owned(), rebuilds: None, before: vec![5] };
        assert!(left.is(&index(9, "a_idx", false)));
        assert!(!left.is(&index(9, "a_idx", true)), "a valid one stays");
        assert!(!left.is(&index(5, "a_idx", false)), "it was there before");
        assert!(!left.is(&index(9, "b_idx", false)), "somebody else's");
        assert!(!left.is(&index(9, "a_idx_ccnew", false)), "somebody's rebuild");
        assert!(!left.is(&Index { table_oid: 2, ..index(9, "a_idx", false) }));
    }

    #[test]
    fn a_rebuild_removes_either_of_its_two() {
        let left = Leftover { table: 1, name: "a_idx".to_owned(), rebuilds: Some(5), before: vec![5, 6] };
        assert!(left.is(&index(9, "a_idx_ccnew", false)));
        assert!(left.is(&index(9, "a_idx_ccnew1", false)));
        assert!(left.is(&index(5, "a_idx_ccold", false)), "its old self, after the swap");
        assert!(!left.is(&index(5, "a_idx", false)), "the index itself never");
        assert!(!left.is(&index(6, "a_idx_ccnew", false)), "left by an earlier one, not by this");
        assert!(!left.is(&index(9, "b_idx_ccnew", false)));
        let long = "x".repeat(63);
        let left = Leftover { name: long.clone(), ..left };
        assert!(left.is(&index(9, &format!("{}_ccnew", &long[..57]), false)), "shortened by the server");
    }
}
