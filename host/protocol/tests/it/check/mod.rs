//! What every model of this folder is asked: that the right variant has no counterexample in any reachable state and shows each
//! state of interest, and that a broken variant is caught.

use stateright::{Checker, Expectation, HasDiscoveries, Model};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::time::Instant;

/// Explores every reachable state. `at_least` guards against a model that is empty by mistake.
pub(crate) fn holds<M>(name: &str, model: M, at_least: usize)
where
    M: Model + Send + Sync + 'static,
    M::State: Hash + Clone + PartialEq + Debug + Send + Sync + 'static,
    M::Action: Clone + PartialEq + Debug,
{
    let start = Instant::now();
    let properties = model.properties();
    let checker = model.checker().spawn_dfs().join();
    let (unique, depth) = (checker.unique_state_count(), checker.max_depth());
    println!("{name}: {unique} states, {depth} deep, {} ms", start.elapsed().as_millis());
    for property in properties {
        let found = checker.discovery(property.name);
        match property.expectation {
            Expectation::Sometimes => assert!(found.is_some(), "{name}: never seen: {}", property.name),
            Expectation::Always | Expectation::Eventually => {
                if let Some(path) = found {
                    panic!("{name}: `{}` does not hold:\n{}", property.name, told(path));
                }
            }
        }
    }
    assert!(unique >= at_least, "{name}: only {unique} states");
}

/// Explores, shortest paths first, until `property` is found not to hold.
pub(crate) fn caught<M>(name: &str, model: M, property: &'static str)
where
    M: Model + Send + Sync + 'static,
    M::State: Hash + Clone + PartialEq + Debug + Send + Sync + 'static,
    M::Action: Clone + PartialEq + Debug,
{
    assert!(model.property(property).expectation.discovery_is_failure());
    let start = Instant::now();
    let checker = model.checker().finish_when(HasDiscoveries::AnyOf(BTreeSet::from([property]))).spawn_bfs().join();
    let unique = checker.unique_state_count();
    let path = checker.discovery(property).unwrap_or_else(|| panic!("{name}: not caught in {unique} states"));
    println!("{name}: caught after {unique} states, {} ms:\n{}", start.elapsed().as_millis(), told(path));
}

/// The steps that lead to a state, and the state.
fn told<S: Debug + Clone + PartialEq, A: Debug + Clone + PartialEq>(path: stateright::Path<S, A>) -> String {
    let last = path.last_state().clone();
    let steps: Vec<String> = path.into_actions().iter().map(|action| format!("    {action:?}")).collect();
    format!("{}\n    = {last:?}", steps.join("\n"))
}
