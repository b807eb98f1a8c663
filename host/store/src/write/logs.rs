//! Log lines and artifacts.

use crate::StoreError;
use crate::rows::{ArtifactRow, Hint, NewLogLine, micros};
use crate::session::{Session, args, sql};
use crate::writer::Op;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;

/// Lines of runs, in order. A line of a run that is not there has nowhere to go.
pub(crate) async fn lines(session: &mut Session<'_>, lines: &[(Arc<str>, Box<NewLogLine>)]) -> Result<(), StoreError> {
    let mut by_run: HashMap<&str, Vec<_>> = HashMap::new();
    for (run, line) in lines {
        let lines = by_run.entry(run).or_default();
        lines.push(json!({
            "n": lines.len() + 1,
            "time": micros(line.time),
            "level": line.level,
            "source": line.source,
            "message": line.message,
            "fields": json!(line.fields).to_string(),
        }));
    }
    for (run, lines) in by_run {
        session
            .run(
                sql!(
                    "insert into rota.logs (run, sequence, time, level, source, message, fields)
                     select $1, (select coalesce(max(l.sequence), 0) from rota.logs l where l.run = $1) + cast(each.value ->> 'n' as bigint),
                            cast(each.value ->> 'time' as bigint), each.value ->> 'level', each.value ->> 'source',
                            each.value ->> 'message', each.value ->> 'fields'
                     from @each($2) where exists (select 1 from rota.runs r where r.id = $1)"
                ),
                args![run, &json!(lines).to_string()],
            )
            .await?;
        session.hints.push(Hint::Log(run.to_owned()));
    }
    Ok(())
}

/// Count lines that were lost.
pub(crate) async fn dropped(session: &mut Session<'_>, run: &str, lines: u64) -> Result<(), StoreError> {
    session
        .run(sql!("update rota.runs set dropped_log_lines = dropped_log_lines + $2 where id = $1"), args![run, lines])
        .await?;
    Ok(())
}

/// A run keeps a file.
pub(crate) struct Artifact {
    pub(crate) run: String,
    pub(crate) artifact: ArtifactRow,
}

impl Op for Artifact {
    type Answer = ();

    async fn apply(&self, session: &mut Session<'_>) -> Result<(), StoreError> {
        let artifact = &self.artifact;
        let written = session
            .run(
                sql!(
                    "insert into rota.artifacts (run, name, media_type, size, sha256)
                     select r.id, $2, $3, $4, $5 from rota.runs r where r.id = $1
                     on conflict (run, name) do update
                       set media_type = excluded.media_type, size = excluded.size, sha256 = excluded.sha256"
                ),
                args![&self.run, &artifact.name, &artifact.media_type, artifact.size, &artifact.sha256],
            )
            .await?;
        if written == 0 {
            return Err(StoreError::NotFound(self.run.clone()));
        }
        Ok(())
    }
}
