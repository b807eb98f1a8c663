//! What a host counts, and what procedures publish, in the OpenMetrics text form.
//!
//! Values of procedures are kept by job and name: at most so many, so that a procedure with labels without end fills nothing. A run's values
//! replace those of the run before it when it ends, so that what is no longer known is no longer served; and they go when their job has not
//! published for a while, or is configured no more.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, text::encode};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use rota_capability::MetricKind;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long values stay after the last of their job: three times what lay between its last two runs, within these bounds. A job that
/// ran once may be one that runs daily.
const STAYS: (Duration, Duration) = (Duration::from_secs(5 * 60), Duration::from_secs(26 * 3_600));

/// Values of procedures that are kept; further ones are counted as dropped.
const PUBLISHED: usize = 10_000;

/// Labels of one value, and characters of one label's value; more is cut.
const LABELS: usize = 10;
const LABEL: usize = 200;

/// The host's own name among those of procedures.
const RESERVED: [&str; 2] = ["values_dropped", "published_timestamp_seconds"];

/// Which run ended, and how.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RunLabels {
    pub(crate) job: String,
    pub(crate) plugin: String,
    pub(crate) status: String,
}

/// Which schedule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct FireLabels {
    pub(crate) job: String,
    pub(crate) outcome: String,
}

/// Which quota of which team.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct TeamLabels {
    pub(crate) team: String,
    pub(crate) quota: String,
}

/// The metrics of a host.
pub struct Metrics {
    registry: Registry,
    pub(crate) held: Gauge,
    pub(crate) ended: Family<RunLabels, Counter>,
    pub(crate) seconds: Histogram,
    pub(crate) pickup: Histogram,
    pub(crate) fires: Family<FireLabels, Counter>,
    pub(crate) lateness: Histogram,
    pub(crate) refused: Gauge<i64>,
    used_up: Family<TeamLabels, Counter>,
    published: Arc<Published>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("rota");
        let held = Gauge::default();
        registry.register("runs_held", "Runs that this host holds", held.clone());
        let ended = Family::default();
        registry.register("runs_ended", "Runs that ended on this host", ended.clone());
        let seconds = Histogram::new(exponential_buckets(0.01, 4.0, 10));
        registry.register("run_seconds", "How long attempts took on this host", seconds.clone());
        let pickup = Histogram::new(exponential_buckets(0.001, 4.0, 9));
        registry.register("pickup_seconds", "From due to claimed", pickup.clone());
        let fires = Family::default();
        registry.register("schedule_decisions", "Decisions about instants of schedules by this host", fires.clone());
        let lateness = Histogram::new(exponential_buckets(0.001, 4.0, 9));
        registry.register(
            "fire_lateness_seconds",
            "How long after its instant a schedule was decided about",
            lateness.clone(),
        );
        let refused = Gauge::default();
        registry.register("stale_writes_refused", "Writes that came after their lease was lost", refused.clone());
        let used_up = Family::default();
        registry.register(
            "team_quota_refusals",
            "Runs that a quota of their team did not let begin here",
            used_up.clone(),
        );
        let published = Arc::new(Published::default());
        registry.register_collector(Box::new(PublishedCollector(published.clone())));
        Self { registry, held, ended, seconds, pickup, fires, lateness, refused, used_up, published }
    }
}

impl Metrics {
    /// Everything as OpenMetrics text. Values of jobs that are not there any more go.
    pub fn text(&self, is_there: impl Fn(&str) -> bool) -> String {
        self.published.sweep(Instant::now(), is_there);
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// How many writes were refused because their lease was lost.
    pub fn refused(&self, count: u64) {
        self.refused.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// A run ended here.
    pub(crate) fn run_ended(&self, job: Option<&str>, plugin: &str, status: &str, took: Duration) {
        let labels = RunLabels { job: job.unwrap_or_default().into(), plugin: plugin.into(), status: status.into() };
        self.ended.get_or_create(&labels).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// A team's quota did not allow something.
    pub(crate) fn team_refused(&self, team: &str, quota: &str) {
        self.used_up.get_or_create(&TeamLabels { team: team.into(), quota: quota.into() }).inc();
    }

    /// A run of a procedure publishes a value.
    pub(crate) fn publish(
        &self,
        of: &Publisher,
        name: &str,
        labels: &[(String, String)],
        value: f64,
        kind: MetricKind,
    ) {
        self.published.set(of, name, labels, value, kind);
    }

    /// An attempt ended, well or not: what its job published before and it did not is not known any more.
    pub(crate) fn published_all(&self, of: &Publisher) {
        self.published.ended(of);
    }
}

/// Who publishes.
#[derive(Clone, Debug)]
pub(crate) struct Publisher {
    /// The job, or the plugin of a run without one.
    pub(crate) job: String,
    /// The run.
    pub(crate) run: String,
}

#[derive(Default)]
struct Published {
    kept: Mutex<Kept>,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Kept {
    names: BTreeMap<String, Named>,
    /// Values of all names together.
    count: usize,
    /// Jobs that have values.
    jobs: BTreeMap<String, Last>,
}

/// When a job last published.
struct Last {
    at: Instant,
    seconds: f64,
    /// The run, and when it began to.
    run: (String, Instant),
    /// From when the run before it began to when this one did.
    between: Option<Duration>,
}

impl Last {
    fn stays(&self) -> Duration {
        self.between.map_or(STAYS.1, |between| between.saturating_mul(3).clamp(STAYS.0, STAYS.1))
    }
}

/// A value, and whose it is.
struct One {
    value: f64,
    of: Publisher,
}

impl Kept {
    fn retain(&mut self, keep: impl Fn(&One) -> bool) {
        for named in self.names.values_mut() {
            named.values.retain(|_, one| keep(one));
        }
        self.names.retain(|_, named| !named.values.is_empty());
        self.count = self.names.values().map(|named| named.values.len()).sum();
        let there: std::collections::BTreeSet<&str> =
            self.names.values().flat_map(|named| named.values.values()).map(|one| one.of.job.as_str()).collect();
        let gone: Vec<String> = self.jobs.keys().filter(|job| !there.contains(job.as_str())).cloned().collect();
        for job in gone {
            self.jobs.remove(&job);
        }
    }
}

/// The values of one name.
struct Named {
    counter: bool,
    values: BTreeMap<Vec<(String, String)>, One>,
}

impl Published {
    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a job published in another run than this one goes.
    fn ended(&self, of: &Publisher) {
        self.lock().retain(|one| one.of.job != of.job || one.of.run == of.run);
    }

    fn sweep(&self, now: Instant, is_there: impl Fn(&str) -> bool) {
        let mut kept = self.lock();
        let gone: Vec<String> = kept
            .jobs
            .iter()
            .filter(|(job, last)| now.saturating_duration_since(last.at) > last.stays() || !is_there(job))
            .map(|(job, _)| job.clone())
            .collect();
        if !gone.is_empty() {
            kept.retain(|one| !gone.contains(&one.of.job));
        }
    }

    fn set(&self, of: &Publisher, name: &str, labels: &[(String, String)], value: f64, kind: MetricKind) {
        let job = &of.job;
        let name = word(name);
        let counter = matches!(kind, MetricKind::Counter);
        let mut key: Vec<(String, String)> = labels
            .iter()
            .take(LABELS)
            .map(|(key, value)| (word(key), value.chars().take(LABEL).collect()))
            // Names that begin so are the format's own.
            .filter(|(key, _): &(String, String)| key != "job" && !key.starts_with("__"))
            .collect();
        key.push(("job".into(), job.chars().take(LABEL).collect()));
        key.sort();
        key.dedup_by(|a, b| a.0 == b.0);
        let mut kept = self.lock();
        let known = kept.names.get(&name);
        let other_kind = known.is_some_and(|named| named.counter != counter);
        let new = !known.is_some_and(|named| named.values.contains_key(&key));
        if other_kind || RESERVED.contains(&name.as_str()) || (new && kept.count >= PUBLISHED) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        kept.count += usize::from(new);
        let named = kept.names.entry(name).or_insert_with(|| Named { counter, values: BTreeMap::new() });
        named.values.insert(key, One { value, of: of.clone() });
        let now = Instant::now();
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let last = kept.jobs.entry(of.job.clone()).or_insert_with(|| Last {
            at: now,
            seconds,
            run: (of.run.clone(), now),
            between: None,
        });
        (last.at, last.seconds) = (now, seconds);
        if last.run.0 != of.run {
            last.between = Some(now.saturating_duration_since(last.run.1));
            last.run = (of.run.clone(), now);
        }
    }
}

/// A name as the text form takes it; the ending that it gives counters is its own.
fn word(name: &str) -> String {
    let name = name.strip_suffix("_total").unwrap_or(name);
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).take(100).collect();
    if plain.starts_with(|c: char| c.is_ascii_digit()) || plain.is_empty() { format!("_{plain}") } else { plain }
}

#[derive(Debug)]
struct PublishedCollector(Arc<Published>);

impl std::fmt::Debug for Published {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Published")
    }
}

impl Collector for PublishedCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let kept = self.0.lock();
        for (name, named) in &kept.names {
            let full = format!("procedure_{name}");
            let kind =
                if named.counter { ConstCounter::new(0.0).metric_type() } else { ConstGauge::new(0.0).metric_type() };
            let mut metric = encoder.encode_descriptor(&full, "Published by procedures", None, kind)?;
            for (labels, one) in &named.values {
                let encoder = metric.encode_family(labels)?;
                if named.counter {
                    ConstCounter::new(one.value).encode(encoder)?;
                } else {
                    ConstGauge::new(one.value).encode(encoder)?;
                }
            }
        }
        if !kept.jobs.is_empty() {
            let mut metric = encoder.encode_descriptor(
                "procedure_published_timestamp_seconds",
                "When a job last published a value",
                None,
                ConstGauge::new(0.0).metric_type(),
            )?;
            for (job, last) in &kept.jobs {
                let labels = [("job".to_owned(), job.chars().take(LABEL).collect::<String>())];
                ConstGauge::new(last.seconds).encode(metric.encode_family(&labels)?)?;
            }
        }
        let dropped = self.0.dropped.load(Ordering::Relaxed);
        let counter = ConstCounter::new(dropped);
        let metric = encoder.encode_descriptor(
            "procedure_values_dropped",
            "Values of procedures beyond what a host keeps",
            None,
            counter.metric_type(),
        )?;
        counter.encode(metric)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(job: &str, run: &str) -> Publisher {
        Publisher { job: job.into(), run: run.into() }
    }

    fn gauge(metrics: &Metrics, of: &Publisher, name: &str, value: f64) {
        metrics.publish(of, name, &[], value, MetricKind::Gauge);
    }

    #[test]
    fn what_a_later_run_does_not_know_goes_when_it_ends() {
        let metrics = Metrics::default();
        let (first, second) = (of("j", "r1"), of("j", "r2"));
        gauge(&metrics, &first, "lag", 1.0);
        gauge(&metrics, &first, "rate", 2.0);
        gauge(&metrics, &of("other", "r9"), "rate", 7.0);
        metrics.published_all(&first);
        gauge(&metrics, &second, "rate", 3.0);
        assert!(metrics.text(|_| true).contains("rota_procedure_lag{job=\"j\"} 1.0"), "it may come still");
        metrics.published_all(&second);
        let text = metrics.text(|_| true);
        assert!(!text.contains("rota_procedure_lag") && text.contains("rota_procedure_rate{job=\"j\"} 3.0"), "{text}");
        assert!(text.contains("rota_procedure_rate{job=\"other\"} 7.0"), "{text}");
        assert!(text.contains("rota_procedure_published_timestamp_seconds{job=\"j\"} "), "{text}");
        // One that failed before it knew anything.
        metrics.published_all(&of("j", "r3"));
        assert!(!metrics.text(|_| true).contains("job=\"j\""));
    }

    #[test]
    fn values_of_jobs_that_are_gone_or_rest_go() {
        let metrics = Metrics::default();
        gauge(&metrics, &of("gone", "r1"), "a", 1.0);
        gauge(&metrics, &of("daily", "r1"), "a", 1.0);
        for run in ["r1", "r2"] {
            gauge(&metrics, &of("often", run), "a", 1.0);
        }
        let text = metrics.text(|job| job != "gone");
        assert!(!text.contains("gone") && text.contains("often") && text.contains("daily"), "{text}");
        let later = |time: Duration| Instant::now() + time + Duration::from_secs(1);
        metrics.published.sweep(later(STAYS.0), |_| true);
        let text = metrics.text(|_| true);
        assert!(!text.contains("often") && text.contains("daily"), "{text}");
        metrics.published.sweep(later(STAYS.1), |_| true);
        assert!(!metrics.text(|_| true).contains("daily"));
        assert_eq!(metrics.published.lock().count, 0);
    }

    #[test]
    fn values_of_procedures_are_served_under_their_job() {
        let metrics = Metrics::default();
        metrics.publish(&of("nightly", "r1"), "dead-rows", &[("table".into(), "a\"b".into())], 3.5, MetricKind::Gauge);
        metrics.publish(&of("nightly", "r1"), "dead-rows", &[("table".into(), "a\"b".into())], 4.0, MetricKind::Gauge);
        metrics.run_ended(Some("nightly"), "p", "failed", Duration::from_millis(20));
        let text = metrics.text(|_| true);
        assert!(text.contains(r#"rota_procedure_dead_rows{job="nightly",table="a\"b"} 4.0"#), "{text}");
        assert!(text.contains(r#"rota_runs_ended_total{job="nightly",plugin="p",status="failed"} 1"#), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn what_would_break_the_format_is_dropped_or_renamed() {
        let metrics = Metrics::default();
        metrics.publish(
            &of("j", "r1"),
            "a_total",
            &[("__name__".into(), "rota_runs_held".into())],
            1.0,
            MetricKind::Gauge,
        );
        metrics.publish(&of("j", "r1"), "a", &[], 2.0, MetricKind::Counter);
        metrics.publish(&of("j", "r1"), "values_dropped", &[], -5.0, MetricKind::Gauge);
        let text = metrics.text(|_| true);
        assert!(text.contains("rota_procedure_a{job=\"j\"} 1.0") && !text.contains("__name__"), "{text}");
        assert!(text.contains("rota_procedure_values_dropped_total 2"), "{text}");
    }

    #[test]
    fn labels_without_end_are_dropped_and_counted() {
        let metrics = Metrics::default();
        for n in 0..PUBLISHED + 5 {
            metrics.publish(&of("j", "r1"), "m", &[("n".into(), n.to_string())], 1.0, MetricKind::Counter);
        }
        assert!(
            metrics.text(|_| true).contains("rota_procedure_values_dropped_total 5"),
            "{}",
            metrics.text(|_| true).len()
        );
    }
}
