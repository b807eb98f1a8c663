//! A run's course as people read it: what happened when, from its making to its end.

use super::{bold, coloured, dim, format, safe, table};
use chrono::{DateTime, Utc};
use rota_runs::RunView;

/// Effects are in a table of their own; so many are shown in the course at most.
const EFFECTS: usize = 30;

/// The course of a run; none where there is nothing to tell beside its one attempt and its effects.
pub(crate) fn timeline(view: &RunView) -> Option<String> {
    let told = view.attempts.len() > 1
        || !view.steps.is_empty()
        || !view.compensations.is_empty()
        || view.cancelled_by.is_some()
        || view.note.is_some();
    if !told {
        return None;
    }
    let mut events: Vec<(DateTime<Utc>, u8, String, String)> = vec![(view.created_at, 0, "run".into(), "made".into())];
    for attempt in &view.attempts {
        let what = format!("attempt {}", attempt.number);
        events.push((attempt.started_at, 1, what.clone(), format!("began on {}", safe(&attempt.host))));
        if let (Some(at), Some(outcome)) = (attempt.finished_at, &attempt.outcome) {
            let why = attempt.error.as_ref().map(|error| format!(": {}", safe(&error.message))).unwrap_or_default();
            events.push((at, 8, what, format!("{}{why}", coloured(outcome))));
        }
    }
    for step in &view.steps {
        let what = format!("step {}", safe(&step.name));
        events.push((step.started_at, 2, what.clone(), "began".into()));
        if let Some(at) = step.finished_at {
            events.push((at, 5, what, coloured("done")));
        }
    }
    for compensation in &view.compensations {
        let what = format!("undo {}", safe(&compensation.name));
        events.push((compensation.registered_at, 3, what.clone(), "registered".into()));
        if let Some(at) = compensation.finished_at {
            let tries = if compensation.attempts > 1 {
                format!(" after {} tries", compensation.attempts)
            } else {
                String::new()
            };
            let why = compensation.error.as_ref().map(|error| format!(": {}", safe(error))).unwrap_or_default();
            events.push((at, 9, what, format!("{}{tries}{why}", coloured(&compensation.status))));
        }
    }
    if let Some(at) = view.finished_at {
        let note = view.note.as_ref().map(|note| format!(" ({})", safe(note))).unwrap_or_default();
        let by = view.cancelled_by.as_ref().map(|by| format!(", cancelled by {}", safe(by))).unwrap_or_default();
        events.push((at, 10, "run".into(), format!("{}{by}{note}", coloured(&view.status))));
    }
    events.sort_by_key(|(at, rank, ..)| (*at, *rank));
    let more = events.len().saturating_sub(EFFECTS * 4);
    events.drain(..more);
    let row = |(at, _, what, happened): &(DateTime<Utc>, u8, String, String)| {
        let since = (*at - view.created_at).num_milliseconds();
        vec![
            at.format("%H:%M:%S%.3f").to_string(),
            format!("+{}", format::seconds(since as f64 / 1000.0)),
            what.clone(),
            happened.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = events.iter().map(row).collect();
    let mut text = format!("{}\n{}", bold("Course"), table::plain(&["time", "since", "what", "happened"], &rows));
    if more > 0 {
        text.push_str(&format!("\n  {}", dim(&format!("{more} earlier events are left out (--output json has all)"))));
    }
    Some(text)
}
