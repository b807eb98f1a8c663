//! Finds known secrets in text.
//!
//! One Aho-Corasick automaton holds every spelling of every secret, so that a text is read once
//! however many secrets there are. What an encoder is free to vary (which characters of a URL are
//! percent-encoded, which of a JSON string are escaped) is not listed as spellings but undone in a
//! second look at the text ([`views`]). Hits may overlap: they are joined, so that no secret shows
//! its end from behind another.

mod spellings;
mod views;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

pub(crate) use spellings::{SHORTEST, is_maskable};
use views::View;

/// What stands where a secret was.
pub const MASK: &str = "***";

/// A copy of `text` in which every known secret is `***`; `text` itself if it holds none.
pub fn mask(text: &str) -> Cow<'_, str> {
    Masker::current().mask(text)
}

/// [`mask`] for bytes that may not be UTF-8.
pub fn mask_bytes(bytes: &[u8]) -> Cow<'_, [u8]> {
    Masker::current().mask_bytes(bytes)
}

/// The secrets that were registered, and the masker built of them when it was last asked for.
struct Registry {
    secrets: BTreeSet<String>,
    masker: Option<Arc<Masker>>,
}

static REGISTRY: RwLock<Registry> = RwLock::new(Registry { secrets: BTreeSet::new(), masker: None });

/// Has `secret` masked by every [`mask`] that begins after this returns.
pub(crate) fn register(secret: &str) {
    if !is_maskable(secret) || REGISTRY.read().unwrap_or_else(PoisonError::into_inner).secrets.contains(secret) {
        return;
    }
    let mut registry = REGISTRY.write().unwrap_or_else(PoisonError::into_inner);
    registry.secrets.insert(secret.to_owned());
    registry.masker = None;
}

/// Knows a set of secrets and finds them. [`mask`] uses the one of the process; tests and special
/// cases may build their own.
#[derive(Debug, Default)]
pub struct Masker {
    automaton: Option<AhoCorasick>,
    /// Every spelling, sorted, to ask whether a text ends in the beginning of one.
    spellings: Vec<Vec<u8>>,
    longest: usize,
}

/// Where secrets are in a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Sorted, apart from each other.
    pub(crate) ranges: Vec<Range<usize>>,
    /// From here on, the text could be the beginning of a secret that goes on after its end.
    pub(crate) undecided: usize,
}

impl Masker {
    /// A masker of these secrets; those that are not maskable are left out.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut spellings: Vec<Vec<u8>> = Vec::new();
        for secret in secrets {
            if is_maskable(secret) {
                spellings::of(secret, &mut spellings);
            }
        }
        spellings.sort_unstable();
        spellings.dedup();
        if spellings.is_empty() {
            return Self::default();
        }
        let automaton = AhoCorasick::builder()
            // The one kind that reports overlapping hits.
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&spellings);
        // The builder fails only beyond 2^31 states. Masking nothing would then be wrong, so the
        // spellings are searched one by one (see `search`).
        let longest = spellings.iter().map(Vec::len).max().unwrap_or(0);
        Self { automaton: automaton.ok(), spellings, longest }
    }

    /// The masker of all secrets registered so far.
    pub fn current() -> Arc<Self> {
        if let Some(masker) = &REGISTRY.read().unwrap_or_else(PoisonError::into_inner).masker {
            return Arc::clone(masker);
        }
        let mut registry = REGISTRY.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(masker) = &registry.masker {
            return Arc::clone(masker);
        }
        let masker = Arc::new(Self::new(registry.secrets.iter().map(String::as_str)));
        registry.masker = Some(Arc::clone(&masker));
        masker
    }

    /// See [`mask`](crate::mask()).
    pub fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let ranges = self.look(text.as_bytes(), false).ranges;
        if ranges.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut masked = String::with_capacity(text.len());
        let mut from = 0;
        for range in ranges {
            // A hit begins and ends between characters, as both the text and the secret are UTF-8;
            // widened all the same, because slicing inside one would panic.
            let (start, end) = (text.floor_char_boundary(range.start), text.ceil_char_boundary(range.end));
            masked.push_str(text.get(from..start).unwrap_or_default());
            masked.push_str(MASK);
            from = end;
        }
        masked.push_str(text.get(from..).unwrap_or_default());
        Cow::Owned(masked)
    }

    /// See [`mask_bytes`].
    pub fn mask_bytes<'t>(&self, bytes: &'t [u8]) -> Cow<'t, [u8]> {
        let ranges = self.look(bytes, false).ranges;
        if ranges.is_empty() {
            return Cow::Borrowed(bytes);
        }
        let mut masked = Vec::with_capacity(bytes.len());
        let mut from = 0;
        for range in ranges {
            masked.extend_from_slice(bytes.get(from..range.start).unwrap_or_default());
            masked.extend_from_slice(MASK.as_bytes());
            from = range.end;
        }
        masked.extend_from_slice(bytes.get(from..).unwrap_or_default());
        Cow::Owned(masked)
    }

    /// Looks at the text as it is, and as it reads with its escapes undone. Only if it `goes_on` is
    /// it asked what is undecided.
    pub(crate) fn look(&self, text: &[u8], goes_on: bool) -> Found {
        let mut found = Found { ranges: Vec::new(), undecided: text.len() };
        if self.spellings.is_empty() {
            return found;
        }
        let views = View::all(text);
        for view in &views {
            self.search(view.bytes(), |range| found.ranges.push(view.original(range)));
            if goes_on {
                found.undecided = found.undecided.min(view.original_position(self.undecided(view.complete())));
            }
        }
        // A cut within an escape would make the rest read differently.
        while let Some(before) =
            views.iter().map(|view| view.cut_before(found.undecided)).find(|at| *at < found.undecided)
        {
            found.undecided = before;
        }
        found.ranges = joined(found.ranges);
        found
    }

    fn search(&self, text: &[u8], mut hit: impl FnMut(Range<usize>)) {
        match &self.automaton {
            Some(automaton) => automaton.find_overlapping_iter(text).for_each(|m| hit(m.range())),
            None => {
                for spelling in &self.spellings {
                    let starts = (0..text.len()).filter(|at| text[*at..].starts_with(spelling));
                    starts.for_each(|at| hit(at..at + spelling.len()));
                }
            }
        }
    }

    /// Where the longest end of `text` begins that is the beginning of a spelling.
    fn undecided(&self, text: &[u8]) -> usize {
        let from = text.len().saturating_sub(self.longest.saturating_sub(1));
        (from..text.len()).find(|at| self.begins_a_spelling(&text[*at..])).unwrap_or(text.len())
    }

    fn begins_a_spelling(&self, beginning: &[u8]) -> bool {
        let at = self.spellings.partition_point(|spelling| spelling.as_slice() <= beginning);
        self.spellings.get(at).is_some_and(|spelling| spelling.starts_with(beginning))
    }
}

/// Sorts ranges and joins those that overlap or touch.
pub(crate) fn joined(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_unstable_by_key(|range| (range.start, range.end));
    let mut joined: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests;
