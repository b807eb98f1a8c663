//! The slow commands of a cache since the last look, without their arguments.

use rota_sdk::cache::SlowCommand;
use rota_sdk::prelude::*;
use std::collections::BTreeMap;

#[cfg(test)]
mod tests;

procedure! {
    name: "cache-slowlog",
    summary: "Shows the slow commands of a cache since the last look: what, how long, how large; never their arguments.",
    description: include_str!("../README.md"),
    risk: observe,
    idempotent: true,
    slots: {
        cache: cache [read] "Reads the slow log (SLOWLOG GET).",
    },
    examples: [
        "What is there" => json!({}),
        "What came after the last look, whose report had last_ids [4711]" => json!({ "since_ids": [4711] }),
    ],
    parameters: Parameters,
    report: Data,
    run
}

/// Since when, and what is slow.
#[parameters]
pub struct Parameters {
    /// The last number seen of each node, as `last_ids` of the last report says.
    #[parameter(default)]
    since_ids: Vec<u64>,
    /// The most commands to read of a node.
    #[parameter(default = 1000, range = 1..=10_000)]
    limit: u32,
    /// Warn when a command took so many milliseconds.
    #[parameter(default = 100.0, range = 0.0..)]
    warn_ms: f64,
    /// Critical when a command took so many milliseconds: for so long the server served nobody else.
    #[parameter(default = 1000.0, range = 0.0..)]
    critical_ms: f64,
    /// How many kinds of commands to list.
    #[parameter(default = 20, range = 1..=1000)]
    top: u32,
}

/// What was slow.
#[data]
pub struct Data {
    /// Commands since the last look.
    commands: u64,
    /// Commands since the last look that the log did not keep; null where there was none, or it cannot be told.
    missed: Option<u64>,
    /// Whether a node's log began anew since the last look: it restarted, or its log was reset.
    restarted: bool,
    /// The last number of each node: `since_ids` of the next look.
    last_ids: Vec<u64>,
    /// By command and prefix of the key, the longest in all first.
    kinds: Vec<Kind>,
}

/// Commands that are alike.
#[data]
pub struct Kind {
    /// The command.
    command: String,
    /// What their keys begin with, where it looks like a name.
    key_prefix: Option<String>,
    /// How many.
    count: u64,
    /// Milliseconds of all together.
    total_ms: f64,
    /// Milliseconds of the slowest.
    slowest_ms: f64,
    /// The most arguments.
    most_arguments: u32,
    /// The most bytes of arguments.
    most_bytes: u64,
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    let cache = cx.cache().open().await?;
    let all = cache.slowlog(parameters.limit).await?;
    let mut report = Report::new();
    let seen = Seen::of(&all, &parameters);
    let mut kinds = kinds(&seen.new);
    judge(&seen, &kinds, &parameters, &mut report);
    kinds.truncate(parameters.top as usize);
    let columns = ["command", "keys", "count", "total", "slowest", "most arguments", "most bytes"];
    let mut table = report.table("commands", "Slow commands", columns);
    for kind in &kinds {
        table.row(cells![
            &kind.command,
            kind.key_prefix.as_deref().map(|prefix| format!("{prefix}*")),
            kind.count,
            Seconds(kind.total_ms / 1_000.0),
            Seconds(kind.slowest_ms / 1_000.0),
            u64::from(kind.most_arguments),
            Bytes(kind.most_bytes)
        ]);
    }
    let slowest = kinds.iter().map(|kind| kind.slowest_ms).fold(0.0, f64::max);
    report.summary(match seen.new.len() {
        0 => "no slow commands since the last look".to_owned(),
        count => format!("{count} slow commands, the slowest {slowest:.1} ms"),
    });
    let Seen { new, missed, restarted, last_ids } = seen;
    Ok(report.data(Data { commands: new.len() as u64, missed, restarted, last_ids, kinds }))
}

/// What is new of each node's log.
struct Seen<'l> {
    new: Vec<&'l SlowCommand>,
    missed: Option<u64>,
    restarted: bool,
    last_ids: Vec<u64>,
}

impl<'l> Seen<'l> {
    fn of(all: &'l [SlowCommand], parameters: &Parameters) -> Self {
        let nodes =
            all.iter().map(|command| command.node as usize + 1).max().unwrap_or(0).max(parameters.since_ids.len());
        let mut seen = Self { new: Vec::new(), missed: None, restarted: false, last_ids: Vec::new() };
        for node in 0..nodes {
            let own: Vec<&SlowCommand> = all.iter().filter(|command| command.node as usize == node).collect();
            let newest = own.iter().map(|command| command.id).max();
            let oldest = own.iter().map(|command| command.id).min();
            let since = parameters.since_ids.get(node).copied();
            // Numbers only grow, unless the server began anew.
            let restarted = since.zip(newest).is_some_and(|(since, newest)| newest < since);
            seen.restarted |= restarted;
            let since = since.filter(|_| !restarted);
            if let (Some(since), Some(oldest)) = (since, oldest) {
                *seen.missed.get_or_insert(0) += oldest.saturating_sub(since + 1);
            }
            seen.last_ids.push(newest.or(since).unwrap_or(0));
            seen.new.extend(own.into_iter().filter(|command| since.is_none_or(|since| command.id > since)));
        }
        seen
    }
}

fn kinds(commands: &[&SlowCommand]) -> Vec<Kind> {
    let mut kinds: BTreeMap<(String, Option<String>), Kind> = BTreeMap::new();
    for slow in commands {
        let shape = &slow.command;
        let milliseconds = slow.microseconds as f64 / 1_000.0;
        let bytes: u64 = shape.arguments.iter().map(|length| u64::from(*length)).sum();
        let kind = kinds.entry((shape.name.clone(), shape.key_prefix.clone())).or_insert_with(|| Kind {
            command: shape.name.clone(),
            key_prefix: shape.key_prefix.clone(),
            count: 0,
            total_ms: 0.0,
            slowest_ms: 0.0,
            most_arguments: 0,
            most_bytes: 0,
        });
        kind.count += 1;
        kind.total_ms += milliseconds;
        kind.slowest_ms = kind.slowest_ms.max(milliseconds);
        kind.most_arguments = kind.most_arguments.max(shape.argument_count);
        kind.most_bytes = kind.most_bytes.max(bytes);
    }
    let mut kinds: Vec<Kind> = kinds.into_values().collect();
    kinds.sort_by(|a, b| b.total_ms.total_cmp(&a.total_ms));
    kinds
}

fn judge(seen: &Seen<'_>, kinds: &[Kind], parameters: &Parameters, report: &mut Report) {
    for kind in kinds {
        let severity = Severity::of(kind.slowest_ms, parameters.warn_ms, parameters.critical_ms);
        if severity == Severity::Ok {
            continue;
        }
        let on = kind.key_prefix.as_deref().map(|prefix| format!(" on {prefix}*")).unwrap_or_default();
        report
            .finding(severity, format!("{}{on}: up to {:.1} ms", kind.command, kind.slowest_ms))
            .detail(format!(
                "{} times, {:.1} ms together; up to {} arguments",
                kind.count, kind.total_ms, kind.most_arguments
            ))
            .advice(advice(&kind.command));
    }
    if seen.missed.is_some_and(|missed| missed > 0) {
        report
            .unknown(format!("{} slow commands were lost", seen.missed.unwrap_or(0)))
            .detail("the server's log is shorter than what came since the last look")
            .advice("look more often, or raise slowlog-max-len");
    }
    if seen.restarted {
        report.note("a log began anew since the last look: its server restarted, or SLOWLOG RESET was called");
    }
}

fn advice(command: &str) -> &'static str {
    match command {
        "KEYS" => "use SCAN: KEYS looks at every key while the server serves nobody else",
        "SMEMBERS" | "HGETALL" | "LRANGE" | "ZRANGE" | "SORT" => "read big collections in parts (SSCAN, HSCAN, ranges)",
        "DEL" | "FLUSHALL" | "FLUSHDB" => "use UNLINK, or FLUSHALL ASYNC, which free in the background",
        "EVAL" | "EVALSHA" | "FCALL" => "make the script do less at a time: the server serves nobody else meanwhile",
        _ => "look at how much one such command does",
    }
}
