//! The table of transitions in docs/runs.md is the one in the code: for every state and every event, the same state follows or none.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use rota_protocol::{CompensationState, End, Event, RunState, WaitReason};
use std::collections::BTreeMap;

const ENDS: [End; 6] = [End::Succeeded, End::Failed, End::Denied, End::TimedOut, End::Cancelled, End::Unknown];

/// The word of an event in the document, and the end that it names. An event that is new does not compile here: add it to `events` too.
fn word(event: Event) -> (&'static str, Option<End>) {
    match event {
        Event::HoldBack(_) => ("hold-back", None),
        Event::Release => ("release", None),
        Event::Claim => ("claim", None),
        Event::Retry => ("retry", None),
        Event::End(end) => ("end", Some(end)),
        Event::Undo => ("undo", None),
        Event::Undone(end) => ("undone", Some(end)),
        Event::UndoFailed => ("undo-failed", None),
        Event::RetryUndo => ("retry-undo", None),
        Event::Settle(end) => ("settle", Some(end)),
        Event::Skip => ("skip", None),
    }
}

fn events() -> Vec<Event> {
    let holds = [WaitReason::Approval, WaitReason::Window, WaitReason::Concurrency].map(Event::HoldBack);
    let plain =
        [Event::Release, Event::Claim, Event::Retry, Event::Undo, Event::UndoFailed, Event::RetryUndo, Event::Skip];
    let ends = ENDS.into_iter().flat_map(|end| [Event::End(end), Event::Undone(end), Event::Settle(end)]);
    holds.into_iter().chain(plain).chain(ends).collect()
}

fn document() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/runs.md");
    std::fs::read_to_string(path).unwrap()
}

/// The cells of the rows of the table under a heading.
fn rows(document: &str, header: &str) -> Vec<Vec<String>> {
    let lines = document.lines().skip_while(|line| !line.starts_with(header)).skip(2);
    lines
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

/// `` `queued`, `waiting` `` as states.
fn states(cell: &str) -> Vec<RunState> {
    cell.split(", ").map(|word| word.trim_matches('`').parse().unwrap()).collect()
}

/// Every transition that the document names: (state, event's word, end) to the state that follows.
fn told(document: &str) -> BTreeMap<(RunState, String, Option<RunState>), RunState> {
    let mut told = BTreeMap::new();
    for row in rows(document, "| from | event |") {
        let (event, which) = row[1].split_once(": ").map_or((row[1].as_str(), None), |(event, end)| (event, Some(end)));
        let ends: Vec<Option<RunState>> = match which {
            None => vec![None],
            Some("any") => ENDS.map(|end| Some(end.into())).to_vec(),
            Some(one) => match one.strip_prefix("any but ") {
                Some(but) => {
                    let but: RunState = but.parse().unwrap();
                    ENDS.map(RunState::from).into_iter().filter(|end| *end != but).map(Some).collect()
                }
                None => vec![Some(one.parse().unwrap())],
            },
        };
        for from in states(&row[0]) {
            for end in &ends {
                let to = if row[2] == "that end" { end.unwrap() } else { states(&row[2])[0] };
                let twice = told.insert((from, event.to_owned(), *end), to);
                assert_eq!(twice, None, "{} {event} is told twice", from.as_str());
            }
        }
    }
    told
}

#[test]
fn the_table_of_transitions_is_the_one_in_the_code() {
    let document = document();
    let mut told = told(&document);
    let mut compared = 0;
    let mut seen = BTreeMap::new();
    for from in RunState::ALL {
        for event in events() {
            let (name, end) = word(event);
            let key = (from, name.to_owned(), end.map(RunState::from));
            let in_document = told.get(&key).copied();
            assert_eq!(from.after(event).ok(), in_document, "{} {event:?}", from.as_str());
            if let Some(to) = in_document {
                seen.insert(key, to);
            }
            compared += 1;
        }
    }
    told.retain(|key, _| !seen.contains_key(key));
    assert!(told.is_empty(), "the document tells what cannot happen: {told:?}");
    println!("{compared} pairs of state and event compared, {} transitions", seen.len());
    assert_eq!(compared, 12 * 28);
}

#[test]
fn every_state_is_told_with_its_finality() {
    let document = document();
    let rows = rows(&document, "| state | means |");
    let told: Vec<_> = rows.iter().map(|row| (states(&row[0])[0], row[2] == "yes")).collect();
    assert_eq!(told, RunState::ALL.map(|state| (state, state.is_final())));
}

#[test]
fn every_state_of_a_compensation_is_told() {
    let document = document();
    let rows = rows(&document, "| compensation | means |");
    assert_eq!(rows.len(), 6);
    for row in rows {
        let word = row[0].trim_matches('`');
        assert!(CompensationState::from_word(word).is_some(), "{word}");
    }
}
