//! What teams have used.

use crate::StoreError;
use crate::rows::{TeamUsage, day_of};
use crate::session::{Session, args, sql};
use rota_protocol::Span;

/// What each of these teams has used today, in their order.
pub(crate) async fn usage(session: &mut Session<'_>, teams: &[String]) -> Result<Vec<TeamUsage>, StoreError> {
    let day = day_of(session.now().await?);
    let mut all = Vec::with_capacity(teams.len());
    for team in teams {
        let key = crate::rows::team_key(team);
        let row = session
            .one(
                sql!(
                    "select coalesce(u.runs, 0) as runs, coalesce(u.cpu, 0) as cpu, coalesce(u.bytes_out, 0) as bytes_out,
                            coalesce(u.effects, 0) as effects,
                            (select count(*) from rota.held_keys h where h.key = $3) as at_once,
                            (select count(*) from rota.queue q where q.hold is null and q.blocked = $3) as waiting
                     from (select 1 as one) o left join rota.team_usage u on u.team = $1 and u.day = $2"
                ),
                args![team, day, &key],
            )
            .await?;
        let Some(row) = row else { continue };
        all.push(TeamUsage {
            team: team.clone(),
            day,
            runs: row.count("runs")?,
            cpu: Span(row.number("cpu")?),
            bytes_out: row.count("bytes_out")?,
            effects: row.count("effects")?,
            at_once: row.count("at_once")?,
            waiting: row.count("waiting")?,
        });
    }
    Ok(all)
}
