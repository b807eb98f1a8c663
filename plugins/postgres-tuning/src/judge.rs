//! From what was computed to what a person reads.

use crate::compute::{Wanted, size};
use crate::look::Looked;
use rota_sdk::prelude::*;

/// The worst case of memory.
pub(crate) fn worst(now: i64, advised: i64, memory: i64, looked: &Looked, sorts: i64, report: &mut Report) {
    #[allow(clippy::cast_precision_loss, reason = "metrics")]
    report.metric("worst_case_bytes", &[], now as f64).metric("memory_bytes", &[], memory as f64);
    if now > memory {
        report
            .warning(format!("in the worst case the server takes {} of {}", size(now), size(memory)))
            .detail(format!(
                "{:.0} connections, each with {sorts} sorts of work_mem times hash_mem_multiplier, shared buffers, and all autovacuum workers at once. With what is advised: {}.",
                looked.value("max_connections"),
                size(advised)
            ))
            .advice("Lower work_mem or max_connections (a pooler lets few connections serve many clients)");
    }
    if advised > memory {
        report
            .warning(format!(
                "even with the least that is advised the worst case is {} of {}",
                size(advised),
                size(memory)
            ))
            .advice("Lower max_connections: work_mem is at its least already");
    }
}

pub(crate) fn settings<'w>(settings: impl Iterator<Item = &'w Wanted>, report: &mut Report) {
    for wanted in settings.filter(|wanted| wanted.differs) {
        let needs = if wanted.restart { "needs a restart" } else { "takes effect with a reload" };
        report
            .warning(format!("{} is {}; {} is advised", wanted.name, wanted.current, wanted.advised))
            .detail(format!("It comes from: {}. A change {needs}. To take it back: {}", wanted.source, wanted.undo))
            .advice(format!(
                "`apply` sets it; or, as a superuser: {}; then {}",
                wanted.statement,
                if wanted.restart { "restart the server" } else { "SELECT pg_reload_conf()" }
            ));
    }
}

/// What is written and did not take.
pub(crate) fn files(looked: &Looked, report: &mut Report) {
    for written in &looked.not_taken {
        let value = written.value.clone().unwrap_or_default();
        match &written.error {
            Some(error) => {
                report
                    .critical(format!("{}: {} = {value} has an error: {error}", written.place, written.name))
                    .advice("Mend the line; the server may not start with it");
            }
            None => {
                report
                    .warning(format!("{} = {value} is written and waits for a restart", written.name))
                    .detail(written.place.clone())
                    .advice("Restart the server when it suits");
            }
        }
    }
    for name in looked.pending() {
        if !looked.not_taken.iter().any(|written| written.name == name) {
            report.warning(format!("{name} waits for a restart")).advice("Restart the server when it suits");
        }
    }
}

pub(crate) fn show(settings: &[Wanted], report: &mut Report) {
    let mut table =
        report.table("settings", "Settings", ["setting", "current", "advised", "differs", "restart", "source"]);
    for wanted in settings {
        table.row(cells![
            &wanted.name,
            &wanted.current,
            &wanted.advised,
            wanted.differs,
            wanted.restart,
            &wanted.source
        ]);
    }
}
