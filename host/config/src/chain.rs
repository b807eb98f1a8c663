//! Jobs that run after jobs: whether those are there, and whether any would run after itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::Look;
use crate::nearest::advice;
use crate::problem::Problem;
use crate::{Job, JobName};

impl Look<'_> {
    /// Reports jobs that are named in `after` and are not there, and cycles.
    pub(crate) fn chains(&self) {
        let jobs = &self.settings.jobs;
        for (name, job) in jobs.iter().filter(|(_, job)| !job.after.is_empty()) {
            self.predecessors(name, job);
        }
        for cycle in cycles(jobs) {
            let shown: Vec<&str> = cycle.iter().chain(cycle.first()).map(|name| name.as_str()).collect();
            let Some([last, first]) = cycle.last().zip(cycle.first()).map(|(last, first)| [last, first]) else {
                continue;
            };
            // The place at which the first of them says that it runs after the last.
            let after = jobs.get(first).map(|job| job.after.as_slice()).unwrap_or_default();
            let at = after.iter().position(|after| after.job == *last).unwrap_or_default();
            let message =
                format!("jobs.{first}.after makes a cycle, in which jobs would run for ever: {}", shown.join(" -> "));
            let place = self.place(&format!("jobs.{first}.after[{at}].job"));
            self.reader.report(Problem::error(place, message).help("take one of them out of the after of the next"));
        }
    }

    fn predecessors(&self, name: &JobName, job: &Job) {
        let mut seen = BTreeSet::new();
        for (i, after) in job.after.iter().enumerate() {
            let place = || self.place(&format!("jobs.{name}.after[{i}].job"));
            if !self.settings.jobs.contains_key(&after.job) {
                let message =
                    format!("jobs.{name}.after[{i}] names the job \"{}\", which is not configured", after.job);
                let names: Vec<&str> = self.settings.jobs.keys().map(|name| name.as_str()).collect();
                self.reader.report(Problem::error(place(), message).help(advice(after.job.as_str(), &names, "jobs")));
            }
            if !seen.insert(&after.job) {
                let message = format!("jobs.{name}.after names the job \"{}\" twice", after.job);
                self.reader
                    .report(Problem::error(place(), message).help("keep one of the two; on = \"any\" is both ends"));
            }
        }
    }
}

/// The cycles that following `after` leads into, each in the order in which its jobs would run, from its first by name. One
/// cycle is found for each job that is in any.
fn cycles(jobs: &BTreeMap<JobName, Job>) -> BTreeSet<Vec<JobName>> {
    let mut found = BTreeSet::new();
    let mut through = BTreeSet::new();
    for name in entangled(jobs) {
        if through.contains(name) {
            continue;
        }
        if let Some(cycle) = cycle_of(jobs, name) {
            through.extend(cycle.iter().cloned());
            found.insert(cycle);
        }
    }
    found
}

/// The jobs that are in a cycle or come after one: what is left when every job is taken out all of whose predecessors are out. It
/// takes time in proportion to the number of jobs, of which there may be many.
fn entangled(jobs: &BTreeMap<JobName, Job>) -> BTreeSet<&JobName> {
    let mut followers: BTreeMap<&JobName, Vec<&JobName>> = BTreeMap::new();
    let mut waits_for: BTreeMap<&JobName, usize> = BTreeMap::new();
    for (name, job) in jobs {
        let before = job.after.iter().map(|after| &after.job).filter(|before| jobs.contains_key(*before));
        waits_for.insert(name, before.clone().count());
        for before in before {
            followers.entry(before).or_default().push(name);
        }
    }
    let mut out: Vec<&JobName> = waits_for.iter().filter(|(_, count)| **count == 0).map(|(name, _)| *name).collect();
    while let Some(name) = out.pop() {
        waits_for.remove(name);
        for follower in followers.remove(name).unwrap_or_default() {
            if let Some(count) = waits_for.get_mut(follower) {
                *count -= 1;
                if *count == 0 {
                    out.push(follower);
                }
            }
        }
    }
    waits_for.into_keys().collect()
}

/// The shortest way from a job back to itself, going from each job to those that it runs after.
fn cycle_of(jobs: &BTreeMap<JobName, Job>, start: &JobName) -> Option<Vec<JobName>> {
    let before =
        |name: &JobName| jobs.get(name).into_iter().flat_map(|job| job.after.iter().map(|after| after.job.clone()));
    // From which job each was reached.
    let mut reached: BTreeMap<JobName, JobName> = BTreeMap::new();
    let mut next = vec![start.clone()];
    while !next.is_empty() {
        for name in std::mem::take(&mut next) {
            for earlier in before(&name) {
                if earlier == *start {
                    // From the start's predecessors on, the way leads forward again.
                    let mut way = vec![start.clone()];
                    let mut at = name.clone();
                    while at != *start {
                        way.push(at.clone());
                        at = reached.get(&at)?.clone();
                    }
                    return Some(way);
                }
                if let std::collections::btree_map::Entry::Vacant(place) = reached.entry(earlier.clone()) {
                    place.insert(name.clone());
                    next.push(earlier);
                }
            }
        }
    }
    None
}
