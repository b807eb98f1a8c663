//! What procedures act on. It counts every effect and undo, and refuses a fencing token older than one that it has seen.

use std::collections::BTreeMap;

/// An effect that a compensation undoes.
pub(crate) struct PairEffect {
    pub run: usize,
    /// The compensation on record that undoes it.
    pub entry: Option<usize>,
    pub undone: u32,
}

pub(crate) struct World {
    /// Whether it looks at fencing tokens, as it should.
    fenced: bool,
    tokens: BTreeMap<usize, i64>,
    /// How often the effect of a run's step happened.
    pub steps: BTreeMap<(usize, usize), u32>,
    pub pairs: Vec<PairEffect>,
    pub undos: u64,
    pub refused: u64,
}

impl World {
    pub(crate) fn new(fenced: bool) -> Self {
        Self { fenced, tokens: BTreeMap::new(), steps: BTreeMap::new(), pairs: vec![], undos: 0, refused: 0 }
    }

    /// Whether whoever shows this token may do or see anything of the run: not after its successor's first.
    pub(crate) fn admits(&mut self, run: usize, token: i64) -> bool {
        let seen = self.tokens.entry(run).or_default();
        if token < *seen && self.fenced {
            self.refused += 1;
            return false;
        }
        *seen = token;
        true
    }

    pub(crate) fn step_happened(&self, run: usize, step: usize) -> bool {
        self.steps.contains_key(&(run, step))
    }

    pub(crate) fn undo(&mut self, run: usize, entry: usize) {
        self.undos += 1;
        for effect in self.pairs.iter_mut().filter(|effect| effect.run == run && effect.entry == Some(entry)) {
            effect.undone += 1;
        }
    }
}
