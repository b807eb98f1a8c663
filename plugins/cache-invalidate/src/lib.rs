//! Unlinks the keys that match, within bounds, and shows first which.

use rota_sdk::cache::{Cache, KeyUsage, Pattern, UnlinkOptions, UnlinkPhase, UnlinkProgress, shown};
use rota_sdk::prelude::*;
use std::collections::BTreeMap;

#[cfg(test)]
mod tests;

procedure! {
    name: "cache-invalidate",
    summary: "Unlinks the keys of a cache that match, within bounds; its plan counts them and shows a sample.",
    description: include_str!("../README.md"),
    risk: change,
    idempotent: true,
    slots: {
        cache: cache [read, delete] "Looks for keys (SCAN), measures a sample, and unlinks what matches.",
    },
    examples: [
        "All keys of a user" => json!({ "prefix": "user:17:" }),
        "As many as the plan counted, at most 5 % more or fewer" => json!({ "pattern": "agent:zeus:*", "expected_keys": 1200, "drift_percent": 5 }),
        "Gently, on a busy server" => json!({ "prefix": "session:", "keys_per_second": 20_000 }),
    ],
    parameters: Parameters,
    report: Data,
    run
}

/// Which keys, and within which bounds.
#[parameters]
pub struct Parameters {
    /// The keys that begin with exactly this: `*`, `?`, `[` and spaces stand for themselves. Either this or `pattern`.
    prefix: Option<String>,
    /// The keys that a glob matches, as SCAN understands it. Either this or `prefix`.
    pattern: Option<String>,
    /// Where more keys match, none is unlinked.
    #[parameter(default = 100_000, range = 1..=5_000_000)]
    maximum_keys: u64,
    /// How many literal bytes the pattern must begin with.
    #[parameter(default = 3, range = 1..=1000)]
    minimum_literal: u32,
    /// Keys that begin with one of these are left.
    #[parameter(default)]
    protected: Vec<String>,
    /// How many keys matched when it was planned. Where the count has drifted since, none is unlinked.
    expected_keys: Option<u64>,
    /// By how many per cent of `expected_keys` the count may differ.
    #[parameter(default = 10, range = 0..=1000)]
    drift_percent: u32,
    /// The most keys in one UNLINK; fewer are sent where they would keep the server for more than a fifth of a millisecond.
    #[parameter(default = 500, range = 1..=10_000)]
    batch: u32,
    /// The most keys a second; without it as fast as the server answers, with the turns of other clients between.
    keys_per_second: Option<u32>,
    /// Collections with more elements are emptied step by step first; without it 10,000 on Dragonfly, whose UNLINK can block, and never on Redis
    /// and Valkey, which free in the background.
    drain_above: Option<u32>,
    /// How many of the keys are measured for the report.
    #[parameter(default = 100, range = 0..=1000)]
    sample: u32,
    /// Whether to look again afterwards.
    #[parameter(default = true)]
    verify: bool,
}

/// What was done, or would be.
#[data]
pub struct Data {
    /// Keys that match and may be unlinked.
    matched: u64,
    /// Keys that match and are protected.
    protected: u64,
    /// Keys that were unlinked; 0 in a plan.
    unlinked: u64,
    /// Keys that were gone by themselves when it was their turn.
    vanished: u64,
    /// Big collections that were emptied first.
    drained: u64,
    /// Keys that matched afterwards: protected ones, and what was written meanwhile. Null where nobody looked.
    left: Option<u64>,
    /// The sample, by kind of value.
    sample: Vec<Kind>,
}

/// The keys of the sample that hold one kind of value.
#[data]
pub struct Kind {
    /// `string`, `hash` ...
    kind: String,
    /// How many keys.
    keys: u64,
    /// Bytes that they take together; null where the server does not say.
    bytes: Option<u64>,
    /// Elements of the longest (bytes, of a string).
    longest: u64,
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    let pattern = match (&parameters.prefix, &parameters.pattern) {
        (Some(prefix), None) if !prefix.is_empty() => Pattern::prefix(prefix.as_str()),
        (None, Some(glob)) if !glob.is_empty() => Pattern::glob(glob.as_str()),
        _ => {
            return Err(Error::new("either `prefix` or `pattern` says which keys, and it is not empty")
                .hint("-p prefix=user:17:"));
        }
    };
    let cache = cx.cache().open().await?;
    let mut report = Report::new();
    let sample = sample(&cache, &pattern, parameters.sample, &mut report).await?;
    let options = UnlinkOptions {
        minimum_literal: parameters.minimum_literal,
        protected: parameters.protected.iter().map(|prefix| prefix.clone().into_bytes()).collect(),
        expected: parameters.expected_keys,
        drift_percent: parameters.drift_percent,
        batch: parameters.batch,
        keys_per_second: parameters.keys_per_second,
        drain_above: parameters.drain_above,
        ..UnlinkOptions::new(pattern.clone(), parameters.maximum_keys)
    };
    let done = cache.unlink_matching(options, tell).await?;
    let looks = parameters.verify && !cx.is_plan();
    let left = if looks { Some(verify(&cache, &pattern, &done, &mut report).await?) } else { None };
    if cx.is_plan() {
        approve(&parameters, &done, &mut report);
    }
    if done.protected > 0 {
        report.note(format!("{} keys match and are protected", done.protected));
    }
    let what = parameters.prefix.as_deref().or(parameters.pattern.as_deref()).unwrap_or_default();
    report.summary(if done.matched == 0 {
        format!("no key matches {}", shown(what.as_bytes()))
    } else if cx.is_plan() {
        format!("{} keys would be unlinked", done.matched)
    } else {
        format!("{} of {} keys unlinked, {} gone by themselves", done.unlinked, done.matched, done.vanished)
    });
    report.metric("unlinked_keys", &[], done.unlinked as f64);
    let UnlinkProgress { matched, protected, unlinked, vanished, drained, .. } = done;
    Ok(report.data(Data { matched, protected, unlinked, vanished, drained, left, sample }))
}

fn tell(now: &UnlinkProgress) {
    match now.phase {
        UnlinkPhase::Counting => progress(now.matched, None, "keys", "looking"),
        UnlinkPhase::Unlinking => progress(now.unlinked + now.vanished, Some(now.matched), "keys", "unlinking"),
    }
}

/// What some of the keys hold.
async fn sample(cache: &Cache, pattern: &Pattern, count: u32, report: &mut Report) -> Result<Vec<Kind>> {
    let mut scanning = cache.scan(pattern.clone()).await?;
    let mut keys = Vec::new();
    while keys.len() < count as usize {
        let Some(some) = scanning.next().await? else { break };
        keys.extend(some);
    }
    drop(scanning);
    keys.truncate(count as usize);
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let usages = cache.memory_usage(keys.clone()).await?;
    let mut table = report.table("sample", "Some of the keys", ["key", "kind", "bytes", "length", "expires in"]);
    for (key, usage) in keys.iter().zip(&usages).take(20) {
        if let Some(usage) = usage {
            let expires = usage.expires_in.map(|milliseconds| Seconds(milliseconds as f64 / 1_000.0));
            table.row(cells![shown(key), &usage.kind, usage.bytes.map(Bytes), usage.length, expires]);
        }
    }
    Ok(kinds(usages.into_iter().flatten()))
}

fn kinds(usages: impl Iterator<Item = KeyUsage>) -> Vec<Kind> {
    let mut kinds: BTreeMap<String, Kind> = BTreeMap::new();
    for usage in usages {
        let kind = kinds.entry(usage.kind.clone()).or_insert_with(|| Kind {
            kind: usage.kind,
            keys: 0,
            bytes: Some(0),
            longest: 0,
        });
        kind.keys += 1;
        kind.bytes = kind.bytes.zip(usage.bytes).map(|(sum, bytes)| sum + bytes);
        kind.longest = kind.longest.max(usage.length.unwrap_or(0));
    }
    kinds.into_values().collect()
}

/// Look again: what is left is protected, or was written meanwhile.
async fn verify(cache: &Cache, pattern: &Pattern, done: &UnlinkProgress, report: &mut Report) -> Result<u64> {
    let mut scanning = cache.scan(pattern.clone()).await?;
    let mut left = 0_u64;
    while let Some(some) = scanning.next().await? {
        left += some.len() as u64;
    }
    let written = left.saturating_sub(done.protected);
    if written > 0 {
        report
            .warning(format!("{written} keys match again"))
            .detail("clients wrote them while or after the others were unlinked")
            .advice("if they hold old values, find who writes them, and run again");
    }
    Ok(left)
}

/// What to run when the plan is right: with the count, so that it cannot become another one unseen.
fn approve(parameters: &Parameters, done: &UnlinkProgress, report: &mut Report) {
    if done.matched == 0 || parameters.expected_keys.is_some() {
        return;
    }
    let mut exact = json!({ "expected_keys": done.matched, "maximum_keys": parameters.maximum_keys, "protected": parameters.protected });
    match (&parameters.prefix, &parameters.pattern) {
        (Some(prefix), _) => exact["prefix"] = json!(prefix),
        (_, Some(pattern)) => exact["pattern"] = json!(pattern),
        _ => {}
    }
    report
        .note(format!("{} keys match now", done.matched))
        .detail(format!(
            "with expected_keys={} the run unlinks nothing when the count has changed by more than {} %",
            done.matched, parameters.drift_percent
        ))
        .remedy(
            "cache-invalidate",
            &exact,
            "unlinks these keys, and nothing when there are many more or fewer by then",
        );
}
