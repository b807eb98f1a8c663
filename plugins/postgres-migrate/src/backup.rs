//! Whether there is a way back.

use crate::Context;
use crate::Parameters;
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use rota_sdk_backup::bucket;
use rota_sdk_backup::layout;

/// Look how old the newest usable backup is, hours; an error when it is too old, or there is none.
pub(crate) async fn look(
    cx: &Context,
    parameters: &Parameters,
    server: &Server,
    report: &mut Report,
) -> Result<Option<f64>> {
    let Some(slot) = cx.bucket() else {
        report
            .warning("nobody looked whether there is a backup")
            .detail("The slot `bucket` is not bound.")
            .advice("Bind the bucket of the backups with --bind bucket=NAME, so that a migration without a way back is refused.");
        return Ok(None);
    };
    let prefix = layout::prefix(&parameters.prefix);
    let holding = bucket::look(&slot.open().await?, &prefix, Some(&server.database)).await?;
    let usable = holding.backups.iter().filter(|backup| {
        let same = |manifest: &rota_sdk_backup::Manifest| {
            let theirs = manifest.source.system_identifier.as_deref();
            theirs.is_none() || server.system_identifier.is_none() || theirs == server.system_identifier.as_deref()
        };
        // Of this very cluster: a database of the same name on another server is no way back.
        !backup.is_known_damaged() && backup.problems().is_empty() && backup.manifest.as_ref().is_ok_and(same)
    });
    let newest = usable.map(|backup| cx.now().seconds_since(backup.started_at()) / 3600.0).min_by(f64::total_cmp);
    let most = parameters.backup_max_age_hours;
    match newest {
        Some(age) if age <= most => Ok(Some(age)),
        found => {
            let what = match found {
                Some(age) => format!(
                    "the newest usable backup of {} is {age:.1} hours old, and at most {most:.1} are allowed",
                    server.database
                ),
                None => format!("there is no usable backup of {} in the bucket", server.database),
            };
            Err(Error::new(what)
                .hint("run postgres-backup first, or raise backup_max_age_hours knowing that there is no way back"))
        }
    }
}
