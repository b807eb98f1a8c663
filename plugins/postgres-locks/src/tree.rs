//! From edges to trees: who holds whom up.

use crate::look::{Edge, Seen};
use rota_sdk::data;
use std::collections::{BTreeMap, BTreeSet};

/// Somebody who holds others up.
#[data]
pub(crate) struct Root {
    /// Its key; of a circle, of one in it.
    pub(crate) key: String,
    /// How many sessions wait for it, directly or behind others.
    pub(crate) waiters: usize,
    /// The longest of their waits, in seconds.
    pub(crate) longest_wait_seconds: Option<f64>,
    /// The keys of those who wait in a circle; empty for a root that waits for nobody.
    pub(crate) circle: Vec<String>,
    /// The tree, from the root down; each line is below the nearest line before it of a smaller depth.
    pub(crate) tree: Vec<Line>,
}

/// A line of a tree.
#[data]
pub(crate) struct Line {
    /// How deep it stands: 0 for the root.
    pub(crate) depth: usize,
    /// Whose line it is.
    pub(crate) key: String,
    /// On what it waits for the line that it stands below; null for the root.
    pub(crate) object: Option<String>,
    /// The mode that it wants; null for the root.
    pub(crate) wants: Option<String>,
    /// Whether the one above only waits further ahead in the queue.
    pub(crate) only_ahead: bool,
    /// Whether those below it are listed elsewhere, because it waits for several.
    pub(crate) again: bool,
}

/// All trees.
#[derive(Debug, Default)]
pub(crate) struct Forest {
    pub(crate) roots: Vec<Root>,
}

struct Graph<'s> {
    /// The edges below each blocker.
    below: BTreeMap<&'s str, Vec<&'s Edge>>,
    /// The blockers above each waiter.
    above: BTreeMap<&'s str, Vec<&'s str>>,
}

pub(crate) fn grow(seen: &Seen) -> Forest {
    let mut graph = Graph { below: BTreeMap::new(), above: BTreeMap::new() };
    for edge in &seen.edges {
        graph.below.entry(&edge.blocker).or_default().push(edge);
        graph.above.entry(&edge.waiter).or_default().push(&edge.blocker);
    }
    let mut tops: Vec<(&str, Vec<String>)> =
        graph.below.keys().filter(|key| !graph.above.contains_key(*key)).map(|key| (*key, Vec::new())).collect();
    let mut reached: BTreeSet<&str> = tops.iter().flat_map(|(key, _)| graph.all_below(key)).collect();
    // Whoever is below no root waits in a circle, or behind one.
    for waiter in graph.above.keys() {
        if !reached.contains(waiter) {
            let circle = graph.circle_above(waiter);
            if let Some(first) = circle.first().copied() {
                reached.extend(graph.all_below(first));
                tops.push((first, circle.into_iter().map(str::to_owned).collect()));
            }
        }
    }
    let mut sized: Vec<(usize, &str, Vec<String>)> = tops
        .into_iter()
        .map(|(key, circle)| {
            let waiters = graph.all_below(key).len() - usize::from(circle.is_empty());
            (waiters, key, circle)
        })
        .collect();
    sized.sort_by_key(|(waiters, key, _)| (std::cmp::Reverse(*waiters), number(key)));
    let mut expanded = BTreeSet::new();
    let roots = sized.into_iter().map(|(waiters, key, circle)| {
        let below = graph.all_below(key);
        let waits = below
            .iter()
            .filter(|one| **one != key || !circle.is_empty())
            .filter_map(|one| seen.node(one)?.wait_seconds);
        Root {
            key: key.to_owned(),
            waiters,
            longest_wait_seconds: waits.fold(None, |longest: Option<f64>, w| Some(longest.map_or(w, |l| l.max(w)))),
            circle,
            tree: graph.lines(key, &mut expanded),
        }
    });
    Forest { roots: roots.collect() }
}

/// Process ids in the order of numbers, prepared transactions after them.
fn number(key: &str) -> (u64, String) {
    (key.parse().unwrap_or(u64::MAX), key.to_owned())
}

impl<'s> Graph<'s> {
    /// Everybody who waits for this one, and itself.
    fn all_below(&self, key: &'s str) -> BTreeSet<&'s str> {
        let mut all = BTreeSet::from([key]);
        let mut next = vec![key];
        while let Some(one) = next.pop() {
            for edge in self.below.get(one).into_iter().flatten() {
                if all.insert(&edge.waiter) {
                    next.push(&edge.waiter);
                }
            }
        }
        all
    }

    /// The circle that one comes to by going up from somebody who is below no root.
    fn circle_above(&self, waiter: &'s str) -> Vec<&'s str> {
        let mut path = vec![waiter];
        loop {
            let Some(up) = path.last().and_then(|last| self.above.get(last)).and_then(|above| above.first()) else {
                return Vec::new();
            };
            if let Some(place) = path.iter().position(|one| one == up) {
                return path.split_off(place);
            }
            path.push(*up);
        }
    }

    /// The tree below somebody.
    fn lines(&self, root: &'s str, expanded: &mut BTreeSet<&'s str>) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut next: Vec<(usize, &str, Option<&Edge>)> = vec![(0, root, None)];
        while let Some((depth, key, edge)) = next.pop() {
            let below = self.below.get(key);
            let first = expanded.insert(key);
            lines.push(Line {
                depth,
                key: key.to_owned(),
                object: edge.map(|edge| edge.object.clone()),
                wants: edge.map(|edge| edge.wants.clone()),
                only_ahead: edge.is_some_and(|edge| edge.only_ahead),
                again: !first && below.is_some(),
            });
            if first {
                let mut edges: Vec<&Edge> = below.into_iter().flatten().copied().collect();
                edges.sort_by_key(|edge| std::cmp::Reverse(number(&edge.waiter)));
                next.extend(edges.into_iter().map(|edge| (depth + 1, edge.waiter.as_str(), Some(edge))));
            }
        }
        lines
    }
}
