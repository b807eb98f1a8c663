//! What a host counts, and what procedures publish, in the OpenMetrics text form.
//!
//! Values of procedures are kept by job and name until the process ends: at most so many, so that a procedure with labels without
//! end fills nothing.

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
use std::time::Duration;

/// Values of procedures that are kept; further ones are counted as dropped.
const PUBLISHED: usize = 10_000;

/// Labels of one value, and characters of one label's value; more is cut.
const LABELS: usize = 10;
const LABEL: usize = 200;

/// The host's own name among those of procedures.
const RESERVED: [&str; 1] = ["values_dropped"];

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
        let published = Arc::new(Published::default());
        registry.register_collector(Box::new(PublishedCollector(published.clone())));
        Self { registry, held, ended, seconds, pickup, fires, lateness, refused, published }
    }
}

impl Metrics {
    /// Everything as OpenMetrics text.
    pub fn text(&self) -> String {
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

    /// A procedure publishes a value.
    pub(crate) fn publish(&self, job: &str, name: &str, labels: &[(String, String)], value: f64, kind: MetricKind) {
        self.published.set(job, name, labels, value, kind);
    }
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
}

/// The values of one name.
struct Named {
    counter: bool,
    values: BTreeMap<Vec<(String, String)>, f64>,
}

impl Published {
    fn set(&self, job: &str, name: &str, labels: &[(String, String)], value: f64, kind: MetricKind) {
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
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.names.get(&name);
        let other_kind = known.is_some_and(|named| named.counter != counter);
        let new = !known.is_some_and(|named| named.values.contains_key(&key));
        if other_kind || RESERVED.contains(&name.as_str()) || (new && kept.count >= PUBLISHED) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        kept.count += usize::from(new);
        let named = kept.names.entry(name).or_insert_with(|| Named { counter, values: BTreeMap::new() });
        named.values.insert(key, value);
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
        let kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, named) in &kept.names {
            let full = format!("procedure_{name}");
            let kind =
                if named.counter { ConstCounter::new(0.0).metric_type() } else { ConstGauge::new(0.0).metric_type() };
            let mut metric = encoder.encode_descriptor(&full, "Published by procedures", None, kind)?;
            for (labels, value) in &named.values {
                let encoder = metric.encode_family(labels)?;
                if named.counter {
                    ConstCounter::new(*value).encode(encoder)?;
                } else {
                    ConstGauge::new(*value).encode(encoder)?;
                }
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

    #[test]
    fn values_of_procedures_are_served_under_their_job() {
        let metrics = Metrics::default();
        metrics.publish("nightly", "dead-rows", &[("table".into(), "a\"b".into())], 3.5, MetricKind::Gauge);
        metrics.publish("nightly", "dead-rows", &[("table".into(), "a\"b".into())], 4.0, MetricKind::Gauge);
        metrics.run_ended(Some("nightly"), "p", "failed", Duration::from_millis(20));
        let text = metrics.text();
        assert!(text.contains(r#"rota_procedure_dead_rows{job="nightly",table="a\"b"} 4.0"#), "{text}");
        assert!(text.contains(r#"rota_runs_ended_total{job="nightly",plugin="p",status="failed"} 1"#), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn what_would_break_the_format_is_dropped_or_renamed() {
        let metrics = Metrics::default();
        metrics.publish("j", "a_total", &[("__name__".into(), "rota_runs_held".into())], 1.0, MetricKind::Gauge);
        metrics.publish("j", "a", &[], 2.0, MetricKind::Counter);
        metrics.publish("j", "values_dropped", &[], -5.0, MetricKind::Gauge);
        let text = metrics.text();
        assert!(text.contains("rota_procedure_a{job=\"j\"} 1.0") && !text.contains("__name__"), "{text}");
        assert!(text.contains("rota_procedure_values_dropped_total 2"), "{text}");
    }

    #[test]
    fn labels_without_end_are_dropped_and_counted() {
        let metrics = Metrics::default();
        for n in 0..PUBLISHED + 5 {
            metrics.publish("j", "m", &[("n".into(), n.to_string())], 1.0, MetricKind::Counter);
        }
        assert!(metrics.text().contains("rota_procedure_values_dropped_total 5"), "{}", metrics.text().len());
    }
}
