//! What a worker could not have recorded while the store was away, and says now.

use super::logs;
use crate::StoreError;
use crate::rows::NewLogLine;
use crate::session::{Session, args, sql};
use crate::writer::{Late, Op};
use std::sync::Arc;

/// Records that were kept while the store was away.
///
/// The outcome of an effect is taken from whoever began it, which the number of its lease proves, also when that lease is over: nobody else
/// can know it, and it changes nothing but what is known of that effect. The run's state stays what was made of it meanwhile.
pub(crate) struct Deliver {
    pub(crate) records: Vec<Late>,
}

impl Op for Deliver {
    type Answer = ();
    const ORDER: u8 = 0;

    async fn apply(&self, session: &mut Session<'_>) -> Result<(), StoreError> {
        let mut lines: Vec<(Arc<str>, Box<NewLogLine>)> = Vec::new();
        for record in &self.records {
            match record {
                Late::Line { run, line } => lines.push((run.as_str().into(), Box::new(line.clone()))),
                Late::Outcome { run, lease, sequence, outcome, said } => {
                    // That it was interrupted is known from its being dropped, and less than an outcome says.
                    let written = session
                        .run(
                            sql!(
                                "update rota.effects set outcome = $4, said = $5, finished_at = @now
                                 where run = $1 and sequence = $2 and lease = $3
                                   and (outcome in ('running', 'unknown') or (outcome = 'interrupted' and $4 <> 'interrupted'))"
                            ),
                            args![run, *sequence, *lease, outcome, said.as_deref()],
                        )
                        .await?;
                    if written > 0 {
                        lines.push((run.as_str().into(), Box::new(told_late(*sequence, outcome))));
                    }
                }
            }
        }
        logs::lines(session, &lines).await
    }
}

fn told_late(sequence: u64, outcome: &str) -> NewLogLine {
    NewLogLine {
        time: chrono::Utc::now(),
        level: "warn".into(),
        source: "host".into(),
        message: format!("the outcome of effect {sequence} came late, since the store was away: {outcome}"),
        fields: vec![],
    }
}
