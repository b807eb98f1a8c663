//! Runs that are made.

use super::hold::text_of;
use crate::masked;
use crate::rows::{Hint, NewRun, micros};
use crate::session::{Session, args, sql, together};
use crate::writer::Op;
use crate::{RunState, StoreError};
use rota_protocol::WaitReason;
use serde_json::{Value, json};

/// The columns that are written when a run is made, and where they come from.
macro_rules! made_columns {
    () => {
        "id, job, plugin, version, digest, mode, trigger, parameters, grants, scheduled_for, labels, policy, parent, not_before, hold, created_at, state, wait, due"
    };
}
macro_rules! made_values {
    () => {
        "each.value ->> 'id', each.value ->> 'job', each.value ->> 'plugin', each.value ->> 'version', each.value ->> 'digest',
         each.value ->> 'mode', each.value ->> 'trigger', each.value ->> 'parameters', each.value ->> 'grants',
         cast(each.value ->> 'scheduled_for' as bigint), each.value ->> 'labels', each.value ->> 'policy', each.value ->> 'parent',
         cast(each.value ->> 'not_before' as bigint), each.value ->> 'hold', @now,
         each.value ->> 'state', each.value ->> 'hold', coalesce(cast(each.value ->> 'not_before' as bigint), @now)"
    };
}
/// Runs to be done.
pub(crate) struct Enqueue {
    pub(crate) runs: Vec<NewRun>,
}

impl Op for Enqueue {
    type Answer = ();

    async fn apply(&self, session: &mut Session<'_>) -> Result<(), StoreError> {
        insert(session, self.runs.iter()).await
    }

    async fn apply_all(ops: &[&Self], session: &mut Session<'_>) -> Vec<Result<(), StoreError>> {
        let all = insert(session, ops.iter().flat_map(|op| &op.runs)).await;
        ops.iter().map(|_| all.clone()).collect()
    }

    fn are_one_statement(ops: &[&Self]) -> bool {
        ops.iter().map(|op| op.runs.len()).sum::<usize>() <= CHUNK
    }
}

/// The last wall in front of the disk.
pub(crate) fn masked_run(mut run: NewRun) -> NewRun {
    run.parameters = masked::json(run.parameters);
    run.grants = masked::json(run.grants);
    let clean = |text: String| masked::text(text);
    run.labels = run.labels.into_iter().map(|(key, value)| (clean(key), clean(value))).collect();
    run
}

/// As many rows as one statement is given.
const CHUNK: usize = 1_000;

/// Put runs on record and into the queue.
pub(crate) async fn insert<'r>(
    session: &mut Session<'_>,
    runs: impl Iterator<Item = &'r NewRun>,
) -> Result<(), StoreError> {
    let runs: Vec<&NewRun> = runs.collect();
    for chunk in runs.chunks(CHUNK) {
        let rows = Value::Array(chunk.iter().map(|run| row(run)).collect()).to_string();
        session
            .run_together(
                together!(
                    sql!("insert into rota.runs (", made_columns!(), ") select ", made_values!(), " from @each($1)"),
                    sql!(
                        "insert into rota.queue (run, job, priority, due, hold, blocked, blocked_limit, host_labels, keys, undo)
                         select each.value ->> 'id', coalesce(each.value ->> 'job', ''), cast(each.value ->> 'priority' as bigint),
                                coalesce(cast(each.value ->> 'not_before' as bigint), @now), each.value ->> 'barred', null, null, each.value ->> 'host_labels',
                                each.value ->> 'keys', 0
                         from @each($1)"
                    ),
                ),
                args![&rows],
            )
            .await?;
    }
    if !runs.is_empty() {
        session.hints.push(Hint::Queue);
    }
    Ok(())
}

/// Put a run on record that is taken at once.
pub(crate) async fn insert_unqueued(session: &mut Session<'_>, run: &NewRun) -> Result<(), StoreError> {
    let rows = Value::Array(vec![row(run)]).to_string();
    session
        .run(
            sql!("insert into rota.runs (", made_columns!(), ") select ", made_values!(), " from @each($1)"),
            args![&rows],
        )
        .await?;
    Ok(())
}

fn row(run: &NewRun) -> Value {
    let state = if run.hold.is_some() { RunState::Waiting } else { RunState::Queued };
    // What waits for others is a candidate, which its keys hold back.
    let barred = run.hold.filter(|hold| *hold != WaitReason::Concurrency);
    json!({
        "id": run.id,
        "job": run.job,
        "plugin": run.plugin,
        "version": run.version,
        "digest": run.digest,
        "mode": run.mode,
        "trigger": run.trigger,
        "parameters": run.parameters,
        "grants": run.grants,
        "scheduled_for": run.scheduled_for.map(micros),
        "labels": text_of(&run.labels),
        "policy": text_of(&run.policy),
        "parent": run.parent,
        "not_before": run.due.map(micros),
        "hold": run.hold.map(WaitReason::as_str),
        "barred": barred.map(WaitReason::as_str),
        "state": state.as_str(),
        "priority": run.policy.priority,
        "host_labels": text_of(&run.policy.host_labels),
        "keys": text_of(&run.policy.keys),
    })
}
