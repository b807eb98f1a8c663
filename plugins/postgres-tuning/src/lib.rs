//! Computes settings from the memory that a server has, says the worst case, and what was written and did not take.

use crate::apply::{Applied, Left, apply, put_back};
use crate::compute::Wanted;
use crate::look::{Looked, Written};
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;

mod apply;
mod compute;
mod judge;
mod look;
mod memory;
#[cfg(test)]
mod tests;

procedure! {
    name: "postgres-tuning",
    summary: "Computes settings from the memory that a server has, says the worst case, and what was written and did not take.",
    description: include_str!("../README.md"),
    risk: change,
    idempotent: true,
    slots: {
        database: sql [read, alter-system] "Reads the settings and who uses memory; with `apply`, sets what is advised.",
        cluster: kubernetes [read] optional "Reads the memory limit of the server's container.",
    },
    examples: [
        "A node of 8 GB" => json!({ "memory": "8GB" }),
        "The container's limit" => json!({ "pod": "postgres-0", "container": "postgres" }),
        "Setting what is advised, as far as it needs no restart" => json!({ "memory": "8GB", "apply": true, "only": ["work_mem", "maintenance_work_mem"] }),
    ],
    parameters: Parameters,
    report: Data,
    undo: Left => put_back,
    run
}

/// What the disks are.
#[parameters]
pub enum Disk {
    /// Flash, or a volume of a cloud.
    Ssd,
    /// Disks that turn.
    Hdd,
}

/// How much there is, and for what.
#[parameters]
pub struct Parameters {
    /// The memory that the server has: `8GB`. Without it, the limit of `container` in `pod`, or the pod's node's memory.
    memory: Option<String>,
    /// The server's pod, in the cluster of the slot `cluster`.
    pod: Option<String>,
    /// Its container; without it, the pod's only one or its first.
    container: Option<String>,
    /// The share of the memory that sorts, connections and maintenance may take together in the worst case.
    #[parameter(default = 0.5, range = 0.1..=0.9)]
    work_share: f64,
    /// How many sorts and hashes a statement runs at once in the worst case that is counted with.
    #[parameter(default = 2, range = 1..=16)]
    sorts: i64,
    /// What the disks are.
    #[parameter(default = Disk::Ssd)]
    disk: Disk,
    /// Set what is advised: ALTER SYSTEM, a reload, and a look whether it took. Without it, it is only said.
    #[parameter(default = false)]
    apply: bool,
    /// With `apply`, only these settings; without it, all that differ.
    #[parameter(default)]
    only: Vec<String>,
}

/// What was found.
#[data]
pub struct Data {
    /// The server.
    server: Server,
    /// Whether everything that matters could be seen. If not, the status is never ok.
    visibility_complete: bool,
    /// The memory that was counted with, in bytes.
    memory_bytes: i64,
    /// Where that comes from.
    memory_from: String,
    /// Each setting: what it is, what it should be, and what a change needs.
    settings: Vec<Wanted>,
    /// The most that connections, sorts, maintenance and shared memory take together now, in bytes.
    worst_bytes: i64,
    /// The same with what is advised.
    advised_worst_bytes: i64,
    /// Settings that wait for a restart.
    pending_restart: Vec<String>,
    /// What is written in files and did not take, or has an error.
    not_taken: Vec<Written>,
    /// With `apply`: what was set, and what has become of it.
    applied: Vec<Applied>,
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    let mut session = cx.database().open().await?;
    let mut server = Server::inspect(&mut session).await?;
    let (memory_bytes, memory_from) = memory::find(&cx, &mut session, &parameters).await?;
    let mut looked = Looked::at(&mut session, &mut server).await?;
    let mut settings = compute::all(&looked, memory_bytes, &parameters)?;
    let mut report = Report::new();
    let mut applied = Vec::new();
    if parameters.apply {
        applied = apply(&cx, &mut session, &mut server, &looked, &settings, &parameters, &mut report).await?;
        if !applied.is_empty() && !cx.is_plan() {
            looked = Looked::at(&mut session, &mut server).await?;
            settings = compute::all(&looked, memory_bytes, &parameters)?;
        }
    }
    let (worst_bytes, advised_worst_bytes) = compute::worst(&looked, &settings, parameters.sorts);
    judge::worst(worst_bytes, advised_worst_bytes, memory_bytes, &looked, parameters.sorts, &mut report);
    // What was set is told already: that it waits for a restart, or that something else counts.
    let rest = settings.iter().filter(|wanted| !applied.iter().any(|set| set.name == wanted.name));
    judge::settings(rest, &mut report);
    judge::files(&looked, &mut report);
    judge::show(&settings, &mut report);
    server.report_visibility(&mut report);
    let off = settings.iter().filter(|wanted| wanted.differs).count();
    let set = match applied.len() {
        0 => String::new(),
        some if cx.is_plan() => format!("; {some} would be set"),
        some => format!("; {some} were set"),
    };
    report.summary(format!(
        "{off} of {} settings differ from what {} ({memory_from}) advise{set}",
        settings.len(),
        compute::size(memory_bytes)
    ));
    Ok(report.data(Data {
        visibility_complete: server.visibility_complete,
        server,
        memory_bytes,
        memory_from,
        settings,
        worst_bytes,
        advised_worst_bytes,
        pending_restart: looked.pending(),
        not_taken: looked.not_taken,
        applied,
    }))
}
