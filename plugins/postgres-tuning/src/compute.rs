//! What the settings should be.

use crate::apply::undo_of;
use crate::look::{Looked, auto};
use crate::{Disk, Parameters};
use rota_sdk::prelude::*;

/// A setting: what it is, and what it should be.
#[data]
pub(crate) struct Wanted {
    /// Its name.
    pub(crate) name: String,
    /// What it is.
    pub(crate) current: String,
    /// What is advised.
    pub(crate) advised: String,
    /// Whether the two differ enough to matter: by a quarter, for amounts.
    pub(crate) differs: bool,
    /// Whether a change needs a restart.
    pub(crate) restart: bool,
    /// Where the current value comes from: `default`, `configuration file` ...
    pub(crate) source: String,
    /// The statement that a superuser writes it with.
    pub(crate) statement: String,
    /// The statement that takes it back.
    pub(crate) undo: String,
    /// What is advised, in bytes or as a number.
    pub(crate) value: f64,
}

const MB: f64 = 1_048_576.0;

/// An amount in words.
#[allow(clippy::cast_precision_loss, reason = "for people")]
pub(crate) fn size(bytes: i64) -> String {
    let megabytes = bytes as f64 / MB;
    if megabytes >= 1024.0 { format!("{:.1} GB", megabytes / 1024.0) } else { format!("{megabytes:.0} MB") }
}

/// All of them.
#[allow(clippy::cast_precision_loss, reason = "amounts of memory")]
pub(crate) fn all(looked: &Looked, memory: i64, parameters: &Parameters) -> Result<Vec<Wanted>> {
    let memory = memory as f64;
    let shared = memory / 4.0;
    let maintenance = (memory / 16.0).clamp(64.0 * MB, 2048.0 * MB);
    // What is left for sorts when maintenance is at its most, shared out among all connections, each of which runs so many sorts with hashes that may take a multiple.
    let connections = looked.value("max_connections").max(1.0);
    let workers = looked.value("autovacuum_max_workers").max(1.0);
    let left = (memory * parameters.work_share - workers.min(3.0) * maintenance / 3.0).max(memory * 0.05);
    let work = left / connections / parameters.sorts as f64 / looked.value("hash_mem_multiplier").max(1.0);
    let work = (work / MB).floor().clamp(4.0, 256.0) * MB;
    let ssd = parameters.disk == Disk::Ssd;
    let values = [
        ("shared_buffers", shared),
        ("effective_cache_size", memory * 0.75),
        ("maintenance_work_mem", maintenance),
        ("work_mem", work),
        ("max_wal_size", 4096.0 * MB),
        ("min_wal_size", 1024.0 * MB),
        ("checkpoint_completion_target", 0.9),
        ("random_page_cost", if ssd { 1.1 } else { 4.0 }),
        ("effective_io_concurrency", if ssd { 200.0 } else { 2.0 }),
        ("default_statistics_target", 100.0),
    ];
    let mut all = Vec::new();
    for (name, value) in values {
        // A version may lack one.
        let Some(setting) = looked.settings.iter().find(|setting| setting.name == name) else { continue };
        let advised = if setting.is_memory { format!("{:.0}MB", (value / MB).floor()) } else { format!("{value}") };
        let differs = if setting.is_memory {
            setting.value < value * 0.75 || setting.value > value * 1.25
        } else {
            (setting.value - value).abs() > 1e-9
        };
        // More WAL than advised is the operator's choice.
        let differs = differs && !(name.ends_with("wal_size") && setting.value > value);
        // What ALTER SYSTEM writes is taken back by what it wrote before; where that cannot be seen, by what is in force.
        let undo = match &looked.written {
            Some(written) => undo_of(name, auto(written, name).as_deref()),
            None => undo_of(name, Some(setting.shown.as_str()).filter(|_| setting.source != "default")),
        };
        all.push(Wanted {
            name: name.to_owned(),
            current: setting.shown.clone(),
            statement: format!("ALTER SYSTEM SET {name} = '{advised}'"),
            advised,
            differs,
            restart: setting.restart,
            source: setting.source.clone(),
            undo,
            value: if setting.is_memory { (value / MB).floor() * MB } else { value },
        });
    }
    Ok(all)
}

/// The most memory that is taken at once, as it is and with what is advised: shared memory, all connections with their sorts, all autovacuum workers. Parallel workers sort, too: each
/// counts as half a connection more.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "an estimate")]
pub(crate) fn worst(looked: &Looked, wanted: &[Wanted], sorts: i64) -> (i64, i64) {
    let of = |name: &str, advised: bool| {
        let value = wanted.iter().find(|wanted| wanted.name == name).filter(|_| advised).map(|wanted| wanted.value);
        value.unwrap_or_else(|| looked.value(name))
    };
    let sum = |advised: bool| {
        let sorters = looked.value("max_connections") + looked.value("max_parallel_workers") / 2.0;
        let sort = of("work_mem", advised) * looked.value("hash_mem_multiplier").max(1.0);
        let own = looked.value("autovacuum_work_mem");
        let vacuum = if own > 0.0 { own } else { of("maintenance_work_mem", advised) };
        // Before PostgreSQL 17 a vacuum takes 1 GB at most.
        let vacuum = vacuum.min(1024.0 * MB) * looked.value("autovacuum_max_workers");
        (of("shared_buffers", advised) + sorters * sorts as f64 * sort + vacuum) as i64
    };
    (sum(false), sum(true))
}
