//! The end of a run that others wait for: seen to once, with what follows it.

use super::enqueue;
use crate::StoreError;
use crate::rows::NewRun;
use crate::session::{Session, args, sql};
use crate::writer::Op;

/// Somebody has seen to the end of a run.
pub(crate) struct Follow {
    pub(crate) run: String,
    pub(crate) runs: Vec<NewRun>,
}

impl Op for Follow {
    type Answer = bool;

    async fn apply(&self, session: &mut Session<'_>) -> Result<bool, StoreError> {
        let first = session.one(sql!("delete from rota.ended where run = $1 returning run"), args![&self.run]).await?;
        if first.is_none() {
            return Ok(false);
        }
        if !self.runs.is_empty() {
            enqueue::insert(session, self.runs.iter()).await?;
        }
        Ok(true)
    }
}
