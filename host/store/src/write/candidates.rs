//! Which runs could be claimed, and which of them are.

use super::keys::Holders;
use crate::StoreError;
use crate::rows::ConcurrencyKey;
use crate::session::{Row, Session, args, sql};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// As many candidates for each run that is wanted, and at least so many.
const CANDIDATES: (u32, u32) = (8, 32);

/// As many keys that let somebody in are looked at in one claim; the next claim looks at the others.
const KEYS: u32 = 32;

/// A run that could be claimed.
pub(super) struct Candidate {
    pub(super) run: String,
    pub(super) job: String,
    priority: i64,
    pub(super) due: i64,
    pub(super) keys: Vec<ConcurrencyKey>,
    pub(super) blocked: Option<String>,
}

impl Candidate {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            run: row.text("run")?,
            job: row.text("job")?,
            priority: row.number("priority")?,
            due: row.number("due")?,
            keys: row.json("keys")?,
            blocked: row.maybe_text("blocked")?,
        })
    }
}

/// A run that a key holds back.
pub(super) struct Blocked {
    pub(super) run: String,
    pub(super) key: String,
    pub(super) limit: u32,
}

/// Runs that are due and that a worker with these labels may take: more than it wants, so that there is a choice.
pub(super) async fn candidates(
    session: &mut Session<'_>,
    labels: &str,
    most: u32,
) -> Result<Vec<Candidate>, StoreError> {
    let window = most.saturating_mul(CANDIDATES.0).max(CANDIDATES.1);
    // One row at least, which says whether anything is blocked.
    let mut rows = session
        .look(
            sql!(
                "select bars.bar, f.run, f.job, f.priority, f.due, f.keys, f.blocked
                 from (select min(b.blocked) as bar from rota.queue b where b.hold is null and b.blocked is not null) bars
                 left join (
                   select q.run, q.job, q.priority, q.due, q.keys, q.blocked from rota.queue q
                   where q.hold is null and q.blocked is null and q.due <= @now
                     and (q.host_labels = '{}' or @suits(q.host_labels, $1))
                   order by q.priority desc, q.due, q.run limit $2) f on 1 = 1
                 order by f.priority desc, f.due, f.run"
            ),
            args![labels, window],
        )
        .await?;
    let blocked = rows.first().map_or(Ok(true), |row| row.maybe_text("bar").map(|bar| bar.is_some()))?;
    if rows.first().is_some_and(|row| row.maybe_text("run").is_ok_and(|run| run.is_none())) {
        rows.clear();
    }
    if rows.len() >= window as usize {
        // There are more than were looked at: the first of each other job, so that one job's backlog does not hide them.
        rows.extend(heads(session, labels, window).await?);
    }
    if blocked {
        rows.extend(freed(session, labels).await?);
    }
    let mut seen = BTreeSet::new();
    let mut candidates = rows.iter().map(Candidate::read).collect::<Result<Vec<_>, _>>()?;
    candidates.retain(|candidate| seen.insert(candidate.run.clone()));
    Ok(candidates)
}

/// One run, if it is due; its labels are for whoever asks for it by name to know.
pub(super) async fn candidate(session: &mut Session<'_>, run: &str) -> Result<Vec<Candidate>, StoreError> {
    let rows = session
        .all(
            sql!(
                "select q.run, q.job, q.priority, q.due, q.keys, q.blocked from rota.queue q
                     where q.run = $1 and q.hold is null and q.due <= @now"
            ),
            args![run],
        )
        .await?;
    rows.iter().map(Candidate::read).collect()
}

/// The first candidates of each job, of up to so many jobs; the next time from another one on.
async fn heads(session: &mut Session<'_>, labels: &str, most: u32) -> Result<Vec<Row>, StoreError> {
    // Any place to begin at serves, if only it changes: a part of the time does.
    let now = session.now().await?;
    let letter = |n: i64| char::from(b'a' + u8::try_from(n.rem_euclid(26)).unwrap_or(0));
    let from = format!("{}{}", letter(now.0), letter(now.0 / 26));
    let mut rows = heads_from(session, labels, &from, most).await?;
    if rows.len() < most as usize {
        rows.extend(heads_from(session, labels, "", most).await?);
    }
    Ok(rows)
}

async fn heads_from(session: &mut Session<'_>, labels: &str, from: &str, most: u32) -> Result<Vec<Row>, StoreError> {
    // A walk along the index from one job to the next. The order is the index's to the letter, so that it is taken also where the server
    // believes the table to be empty.
    session
        .look(
            sql!(
                "with recursive jobs(job, run) as (
                   select q.job, q.run from rota.queue q where q.run = (
                     select f.run from rota.queue f where f.hold is null and f.blocked is null and f.job >= $2 and f.due <= @now
                       and (f.host_labels = '{}' or @suits(f.host_labels, $1))
                     order by f.job, f.priority desc, f.due, f.run limit 1)
                   union all
                   select q.job, q.run from jobs join rota.queue q on q.run = (
                     select f.run from rota.queue f where f.hold is null and f.blocked is null and f.job > jobs.job and f.due <= @now
                       and (f.host_labels = '{}' or @suits(f.host_labels, $1))
                     order by f.job, f.priority desc, f.due, f.run limit 1))
                 select q.run, q.job, q.priority, q.due, q.keys, q.blocked
                 from (select run from jobs limit $3) few join rota.queue q on q.run = few.run"
            ),
            args![labels, from, most],
        )
        .await
}

/// Candidates that a key held back before, of keys that let somebody in now.
async fn freed(session: &mut Session<'_>, labels: &str) -> Result<Vec<Row>, StoreError> {
    // A walk along the index from one key to the next.
    let keys = session
        .look(
            sql!(
                "with recursive bars(key) as (
                   select (select min(blocked) from rota.queue where hold is null and blocked is not null)
                   union all
                   select (select min(q.blocked) from rota.queue q where q.hold is null and q.blocked > bars.key)
                   from bars where bars.key is not null)
                 select few.key from (select key from bars where key is not null limit 1000) few
                 where (select count(*) from rota.held_keys h where h.key = few.key)
                     < (select f.blocked_limit from rota.queue f where f.hold is null and f.blocked = few.key
                        order by f.priority desc, f.due, f.run limit 1)
                 limit $1"
            ),
            args![KEYS],
        )
        .await?;
    let mut rows = Vec::new();
    for key in keys {
        rows.extend(freed_by(session, labels, &key.text("key")?).await?);
    }
    Ok(rows)
}

async fn freed_by(session: &mut Session<'_>, labels: &str, key: &str) -> Result<Vec<Row>, StoreError> {
    session
        .look(
            sql!(
                "select q.run, q.job, q.priority, q.due, q.keys, q.blocked from rota.queue q
                 where q.hold is null and q.blocked = $2 and q.due <= @now and (q.host_labels = '{}' or @suits(q.host_labels, $1))
                 order by q.priority desc, q.due, q.run limit 8"
            ),
            args![labels, key],
        )
        .await
}

/// How many runs of each job are held, where that decides between candidates.
pub(super) async fn held_by_job(
    session: &mut Session<'_>,
    candidates: &[Candidate],
) -> Result<HashMap<String, u64>, StoreError> {
    if candidates.iter().all(|candidate| candidate.job == candidates[0].job) {
        return Ok(HashMap::new());
    }
    let rows = session.look(sql!("select job, count(*) as held from rota.leases group by job"), &[]).await?;
    rows.iter().map(|row| Ok((row.text("job")?, row.count("held")?))).collect()
}

/// By priority, then the job with the fewest held, then the oldest, as far as the keys allow; and those that they do not.
pub(super) fn choose<'c>(
    candidates: &'c [Candidate],
    mut held: HashMap<String, u64>,
    holders: &mut Holders,
    most: usize,
) -> (Vec<&'c Candidate>, Vec<Blocked>) {
    // Of each priority and job, the oldest first.
    let mut queues: BTreeMap<(i64, &str), Vec<&Candidate>> = BTreeMap::new();
    for candidate in candidates {
        queues.entry((-candidate.priority, &candidate.job)).or_default().push(candidate);
    }
    for queue in queues.values_mut() {
        queue.sort_by(|a, b| (b.due, &b.run).cmp(&(a.due, &a.run)));
    }
    let mut chosen = Vec::new();
    let mut blocked = Vec::new();
    while chosen.len() < most {
        let next = queues
            .iter()
            .filter_map(|((priority, job), queue)| {
                let first = queue.last()?;
                let held = held.get(*job).copied().unwrap_or(0);
                Some(((*priority, held, first.due, &first.run), (*priority, *job)))
            })
            .min();
        let Some((_, place)) = next else { break };
        let Some(candidate) = queues.get_mut(&place).and_then(Vec::pop) else { break };
        match holders.bars(&candidate.run, &candidate.keys) {
            Some((key, _)) => {
                if candidate.blocked.as_ref() != Some(&key.key) {
                    blocked.push(Blocked { run: candidate.run.clone(), key: key.key.clone(), limit: key.limit });
                }
            }
            None => {
                holders.take(&candidate.run, &candidate.keys);
                *held.entry(candidate.job.clone()).or_default() += 1;
                chosen.push(candidate);
            }
        }
    }
    (chosen, blocked)
}
