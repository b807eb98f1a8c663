//! What a cache is asked for during a few seconds, without arguments.

use rota_sdk::cache::SeenCommand;
use rota_sdk::prelude::*;
use std::collections::BTreeMap;

#[cfg(test)]
mod tests;

procedure! {
    name: "cache-monitor",
    summary: "Watches what a cache is asked for during a few seconds: which commands, by whom, on which keys; never their arguments.",
    description: include_str!("../README.md"),
    risk: change,
    idempotent: true,
    slots: {
        cache: cache [debug] "Watches the commands of all clients for a few seconds (MONITOR), which slows the server down meanwhile.",
    },
    examples: [
        "Ten seconds, at most 10,000 commands" => json!({}),
        "A short look at a busy server" => json!({ "seconds": 2, "limit": 1000 }),
    ],
    parameters: Parameters,
    report: Data,
    run
}

/// For how long.
#[parameters]
pub struct Parameters {
    /// At most so many seconds.
    #[parameter(default = 10, range = 1..=60)]
    seconds: u32,
    /// At most so many commands of a node.
    #[parameter(default = 10_000, range = 1..=100_000)]
    limit: u32,
    /// How many kinds to list.
    #[parameter(default = 20, range = 1..=1000)]
    top: u32,
}

/// What was seen.
#[data]
pub struct Data {
    /// Commands that were seen.
    commands: u64,
    /// For how long, in seconds, from the first to the last.
    seconds: f64,
    /// Whether the limit of commands ended it.
    limited: bool,
    /// By command, the most frequent first.
    by_command: Vec<Share>,
    /// By what the keys begin with.
    by_key: Vec<Share>,
    /// By client: numbers of this look.
    by_client: Vec<Share>,
}

/// Commands that have something in common.
#[data]
pub struct Share {
    /// What: a command, a prefix of keys, a client.
    what: String,
    /// How many.
    count: u64,
    /// Their share of all.
    share: f64,
    /// Bytes of their arguments.
    bytes: u64,
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    let cache = cx.cache().open().await?;
    let mut watching = cache.monitor(parameters.seconds, parameters.limit).await?;
    let mut tally = Tally::default();
    while let Some(some) = watching.next().await? {
        some.iter().for_each(|seen| tally.add(seen));
        progress(tally.commands, Some(parameters.limit.into()), "commands", "watching");
    }
    let mut report = Report::new();
    judge(&tally, &mut report);
    let limited = tally.by_node.values().any(|count| *count >= u64::from(parameters.limit));
    let top = |counts: &BTreeMap<String, (u64, u64)>| shares(counts, tally.commands, parameters.top as usize);
    let (by_command, by_key, by_client) = (top(&tally.by_command), top(&tally.by_key), top(&tally.by_client));
    for (name, title, shares) in [
        ("commands", "By command", &by_command),
        ("keys", "By the first part of the key", &by_key),
        ("clients", "By client (numbers of this look)", &by_client),
    ] {
        let mut table = report.table(name, title, ["what", "count", "share", "bytes of arguments"]);
        for share in shares {
            table.row(cells![&share.what, share.count, Ratio(share.share), Bytes(share.bytes)]);
        }
    }
    report.summary(if cx.is_plan() {
        format!("commands would be watched for at most {} s", parameters.seconds)
    } else {
        let ended = if limited { ", until the limit was reached" } else { "" };
        format!("{} commands in {:.1} s{ended}; the connection is closed", tally.commands, tally.seconds())
    });
    Ok(report.data(Data { commands: tally.commands, seconds: tally.seconds(), limited, by_command, by_key, by_client }))
}

#[derive(Default)]
struct Tally {
    commands: u64,
    first: Option<i64>,
    last: i64,
    by_node: BTreeMap<u32, u64>,
    by_command: BTreeMap<String, (u64, u64)>,
    by_key: BTreeMap<String, (u64, u64)>,
    by_client: BTreeMap<String, (u64, u64)>,
}

impl Tally {
    fn add(&mut self, seen: &SeenCommand) {
        let bytes: u64 = seen.command.arguments.iter().map(|length| u64::from(*length)).sum();
        self.commands += 1;
        self.first = Some(self.first.unwrap_or(seen.at).min(seen.at));
        self.last = self.last.max(seen.at);
        *self.by_node.entry(seen.node).or_default() += 1;
        let client = if seen.client == 0 { "scripts".to_owned() } else { format!("client {}", seen.client) };
        let count = |counts: &mut BTreeMap<String, (u64, u64)>, what: String| {
            let (count, sum) = counts.entry(what).or_default();
            (*count, *sum) = (*count + 1, *sum + bytes);
        };
        count(&mut self.by_command, seen.command.name.clone());
        count(&mut self.by_client, client);
        if let Some(prefix) = &seen.command.key_prefix {
            count(&mut self.by_key, format!("{prefix}*"));
        }
    }

    fn seconds(&self) -> f64 {
        self.first.map_or(0.0, |first| (self.last - first) as f64 / 1_000_000.0)
    }
}

fn shares(counts: &BTreeMap<String, (u64, u64)>, all: u64, top: usize) -> Vec<Share> {
    let share = |(what, (count, bytes)): (&String, &(u64, u64))| Share {
        what: what.clone(),
        count: *count,
        share: *count as f64 / all.max(1) as f64,
        bytes: *bytes,
    };
    let mut shares: Vec<Share> = counts.iter().map(share).collect();
    shares.sort_by_key(|share| std::cmp::Reverse(share.count));
    shares.truncate(top);
    shares
}

/// Commands that block a server, or lose its data.
fn judge(tally: &Tally, report: &mut Report) {
    for (command, why) in [
        ("KEYS", "it looks at every key while the server serves nobody else; SCAN does not"),
        ("FLUSHALL", "it removes every key of every database"),
        ("FLUSHDB", "it removes every key of a database"),
        ("SAVE", "the server serves nobody else until it is done; BGSAVE does not block"),
        ("DEBUG SLEEP", "the server serves nobody else meanwhile"),
    ] {
        if let Some((count, _)) = tally.by_command.get(command) {
            report.warning(format!("{command}: {count} times")).detail(why);
        }
    }
}
