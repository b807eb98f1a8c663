//! Which keys to unlink, within which bounds, and what was found of them.

use crate::pattern::{Pattern, Protected};
use crate::wit::{UnlinkOptions, UnlinkPhase, UnlinkProgress};
use bytes::Bytes;
use indexmap::IndexSet;
use rota_config::CacheBinding;
use rota_contract::Error;

/// Which keys, within which bounds: the tighter of what the guest and the operator say.
#[derive(Clone, Debug)]
pub struct Matching {
    pub(crate) pattern: Pattern,
    pub(crate) maximum: u64,
    pub(crate) protected: Protected,
    expected: Option<u64>,
    drift_percent: u32,
    pub(crate) batch: usize,
    pub(crate) keys_per_second: Option<u32>,
    pub(crate) drain_above: Option<u64>,
}

/// The keys that were found.
pub struct Found {
    /// Each once, in the order in which they were found: neighbours in the server's table are unlinked together.
    pub(crate) keys: IndexSet<Bytes>,
    pub(crate) protected: u64,
}

impl Found {
    /// How many may be unlinked.
    pub fn count(&self) -> u64 {
        self.keys.len() as u64
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.iter().map(|key| &key[..])
    }

    /// What it would come to.
    pub fn progress(&self) -> UnlinkProgress {
        UnlinkProgress { matched: self.count(), protected: self.protected, ..nothing(UnlinkPhase::Counting) }
    }
}

fn nothing(phase: UnlinkPhase) -> UnlinkProgress {
    UnlinkProgress { phase, matched: 0, protected: 0, unlinked: 0, vanished: 0, drained: 0, drained_elements: 0 }
}

impl Matching {
    /// From what a guest asks and a binding allows.
    ///
    /// # Errors
    /// `invalid-argument` for a pattern that is too wide, or a bound that is none.
    pub fn parse(options: &UnlinkOptions, binding: &CacheBinding) -> Result<Self, Error> {
        let pattern = Pattern::parse(&options.pattern)?;
        let least = options.minimum_literal.max(binding.minimum_literal) as usize;
        if pattern.literal().len() < least {
            return Err(Error::InvalidArgument(format!(
                "{} begin with {} literal bytes, and {least} are the least here (`minimum_literal` of the binding or the call); say more of the keys",
                pattern.describe(),
                pattern.literal().len()
            )));
        }
        if !(1..=10_000).contains(&options.batch) {
            return Err(Error::InvalidArgument(format!("a batch is 1 to 10,000 keys, not {}", options.batch)));
        }
        if options.keys_per_second == Some(0) {
            return Err(Error::InvalidArgument("0 keys a second never end".into()));
        }
        let operators = binding.protected.iter().flatten().map(|prefix| prefix.clone().into_bytes());
        Ok(Self {
            pattern,
            maximum: options.maximum_keys.min(binding.maximum_keys.into()),
            protected: Protected::new(operators.chain(options.protected.iter().cloned())),
            expected: options.expected,
            drift_percent: options.drift_percent,
            batch: options.batch as usize,
            keys_per_second: options.keys_per_second,
            drain_above: options.drain_above.map(u64::from),
        })
    }

    /// In words, for a plan and a record.
    pub fn describe(&self, found: &Found) -> String {
        let rate = self.keys_per_second.map(|rate| format!(", at most {rate} keys a second")).unwrap_or_default();
        let kept =
            if found.protected == 0 { String::new() } else { format!("; {} protected are left", found.protected) };
        format!(
            "unlinks {} {} in batches of at most {}{rate}; at most {} keys{kept}",
            found.count(),
            self.pattern.describe(),
            self.batch,
            self.maximum
        )
    }

    /// What of some keys it finds, as a look at a server would.
    ///
    /// # Errors
    /// `conflict` when more match than may, or the count has drifted.
    pub fn among<'k>(&self, keys: impl IntoIterator<Item = &'k [u8]>) -> Result<Found, Error> {
        let mut found = Found { keys: IndexSet::new(), protected: 0 };
        for key in keys.into_iter().filter(|key| self.pattern.matches(key)) {
            match self.protected.of(key) {
                Some(_) => found.protected += 1,
                None => drop(found.keys.insert(Bytes::copy_from_slice(key))),
            }
        }
        self.check_count(found.count())?;
        self.check_drift(found.count())?;
        Ok(found)
    }

    pub(crate) fn check_count(&self, found: u64) -> Result<(), Error> {
        if found <= self.maximum {
            return Ok(());
        }
        Err(Error::Conflict(format!(
            "more than {} {} (`maximum_keys` of the binding or the call), so nothing was unlinked; narrow the pattern or raise it",
            self.maximum,
            self.pattern.describe()
        )))
    }

    pub(crate) fn check_drift(&self, found: u64) -> Result<(), Error> {
        let Some(expected) = self.expected else { return Ok(()) };
        let allowed = u128::from(expected) * u128::from(self.drift_percent);
        if u128::from(found.abs_diff(expected)) * 100 <= allowed {
            return Ok(());
        }
        Err(Error::Conflict(format!(
            "{found} {}, and {expected} were planned: that is more than {} % off, so nothing was unlinked; plan again",
            self.pattern.describe(),
            self.drift_percent
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wit;

    fn options(pattern: &str) -> UnlinkOptions {
        UnlinkOptions {
            pattern: wit::Pattern::Glob(pattern.into()),
            maximum_keys: 10,
            minimum_literal: 1,
            protected: Vec::new(),
            expected: None,
            drift_percent: 0,
            batch: 5,
            keys_per_second: None,
            drain_above: None,
        }
    }

    fn binding() -> CacheBinding {
        match rota_config::Binding::parse_ad_hoc("redis://h").unwrap() {
            rota_config::Binding::Cache(binding) => binding,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_pattern_that_is_too_wide_is_refused() {
        for (pattern, fits) in [("*", false), ("u*", false), ("us*", false), ("use*", true), ("[u]ser:*", false)] {
            assert_eq!(Matching::parse(&options(pattern), &binding()).is_ok(), fits, "{pattern}");
        }
        let strict = UnlinkOptions { minimum_literal: 6, ..options("user:*") };
        let error = Matching::parse(&strict, &binding()).unwrap_err().to_string();
        assert!(error.contains("5 literal bytes, and 6 are the least"), "{error}");
    }

    #[test]
    fn the_tighter_bound_holds() {
        let tight = CacheBinding { maximum_keys: 7, protected: Some(vec!["user:vip:".into()]), ..binding() };
        let matching = Matching::parse(&options("user:*"), &tight).unwrap();
        assert_eq!(matching.maximum, 7);
        assert!(matching.protected.of(b"user:vip:1").is_some());
    }

    #[test]
    fn drift_is_measured_against_the_plan() {
        let with = |expected, drift_percent| {
            let options = UnlinkOptions { expected: Some(expected), drift_percent, ..options("user:*") };
            Matching::parse(&options, &binding()).unwrap()
        };
        for (expected, percent, found, holds) in [
            (100, 10, 110, true),
            (100, 10, 111, false),
            (100, 10, 89, false),
            (0, 50, 0, true),
            (0, 50, 1, false),
            (5, 0, 5, true),
        ] {
            assert_eq!(with(expected, percent).check_drift(found).is_ok(), holds, "{expected} {percent} {found}");
        }
    }

    #[test]
    fn bounds_that_are_none_are_refused() {
        for wrong in [
            UnlinkOptions { batch: 0, ..options("user:*") },
            UnlinkOptions { batch: 10_001, ..options("user:*") },
            UnlinkOptions { keys_per_second: Some(0), ..options("user:*") },
        ] {
            assert!(matches!(Matching::parse(&wrong, &binding()), Err(Error::InvalidArgument(_))));
        }
    }
}
