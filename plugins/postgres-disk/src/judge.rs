//! What of it is not well, and what mends it.

use crate::Parameters;
use crate::growth::{Growth, Measured};
use crate::holders::{Holder, Kind};
use crate::sizes::{Database, Table};
use crate::volumes::Volume;
use crate::wal::Wal;
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use rota_sdk::text::size;

/// Growth is told from so long a time on: a minute's says nothing of a day's.
const SHORTEST: f64 = 3600.0;
/// From so many dead rows on a vacuum is worth it.
const MANY_DEAD: i64 = 10_000;

/// Why nobody may help himself.
const NEVER: &str = "Never remove files from pg_wal: after the next crash the cluster is lost.";

/// What is judged.
pub(crate) struct Seen<'r> {
    pub(crate) parameters: &'r Parameters,
    pub(crate) wal: &'r Wal,
    pub(crate) holders: &'r [Holder],
    pub(crate) tables: &'r [Table],
    pub(crate) volumes: Option<&'r [Volume]>,
    pub(crate) measured: &'r Measured,
    pub(crate) temporary: Option<i64>,
    /// Whether pods were to be asked.
    pub(crate) asked: bool,
}

impl Seen<'_> {
    /// What the server itself says that it takes.
    fn taken(&self) -> i64 {
        self.measured.databases_bytes + self.wal.bytes.unwrap_or(0) + self.temporary.unwrap_or(0)
    }
}

pub(crate) fn volumes(seen: &Seen<'_>, report: &mut Report) {
    let Seen { parameters, .. } = seen;
    let mut told: Vec<(&str, &str)> = Vec::new();
    for volume in seen.volumes.unwrap_or_default() {
        let labels = [("pod", volume.pod.as_str()), ("path", volume.path.as_str())];
        report.metric("volume_used_ratio", &labels, volume.used_share);
        if let Some(share) = volume.inodes_share {
            report.metric("volume_inodes_used_ratio", &labels, share);
        }
        // Several paths may lie on one volume.
        if told.contains(&(&volume.pod, &volume.mount)) {
            continue;
        }
        told.push((&volume.pod, &volume.mount));
        let of = |share| Severity::of(share, parameters.warn_used, parameters.critical_used);
        let place = format!("{} ({})", volume.pod, volume.path);
        if of(volume.used_share) != Severity::Ok {
            let title =
                format!("{place}: {:.0} % used, {} left", volume.used_share * 100.0, size(volume.available_bytes));
            let detail = format!("Of {} on {}. {}", size(volume.size_bytes), volume.mount, largest(seen));
            report.finding(of(volume.used_share), title).detail(detail).advice(
                "Let go of held WAL and vacuum as the other findings say, remove what else lies on the volume, or enlarge it. A full volume stops the server",
            );
        }
        if let Some(share) = volume.inodes_share.filter(|share| of(*share) != Severity::Ok) {
            report
                .finding(of(share), format!("{place}: {:.0} % of the inodes used", share * 100.0))
                .detail(format!("No file can be made on {} once they are used up, whatever space is left.", volume.mount))
                .advice("Look for folders with very many small files; tables are not it, unless there are very many of them");
        }
    }
    match parameters.capacity_bytes {
        _ if seen.volumes.is_some() => {}
        Some(capacity) => {
            let share = ratio(seen.taken(), capacity);
            report.metric("volume_used_ratio", &[], share);
            let severity = Severity::of(share, parameters.warn_used, parameters.critical_used);
            if severity != Severity::Ok {
                let title = format!("{} of {} used, {:.0} %", size(seen.taken()), size(capacity), share * 100.0);
                report.finding(severity, title).detail(format!(
                    "By databases, WAL and temporary files; what else lies on the volume is not known. {}",
                    largest(seen)
                ));
            }
        }
        None if !seen.asked => {
            report
                .unknown("how full the volumes are was not looked at")
                .detail("PostgreSQL cannot tell how large its disk is.")
                .advice("Bind the slot `cluster` and name the `pod`, or give the volume's size as `capacity_bytes`");
        }
        None => {}
    }
}

fn largest(seen: &Seen<'_>) -> String {
    let wal = seen.wal.bytes.map_or_else(|| "an unknown amount".to_owned(), size);
    format!("The databases take {}, the WAL {wal}.", size(seen.measured.databases_bytes))
}

pub(crate) fn wal(seen: &Seen<'_>, report: &mut Report) {
    let Seen { wal, parameters, .. } = seen;
    let archiver = &wal.archiver;
    #[allow(clippy::cast_precision_loss, reason = "a metric")]
    if let Some(bytes) = wal.bytes {
        report.metric("wal_bytes", &[], bytes as f64);
        let wanted = wal.max_wal_size.max(wal.wal_keep_size);
        if bytes as f64 > parameters.warn_wal_factor * wanted as f64 {
            let most = seen.holders.first().map_or_else(
                || "Nobody holds it: a checkpoint may be overdue, or much was written at once.".to_owned(),
                |holder| format!("The most is held by {} {}.", holder.kind.word(), holder.name),
            );
            report
                .warning(format!("the WAL takes {}, and its settings ask for {}", size(bytes), size(wanted)))
                .detail(format!("{most} {NEVER}"))
                .advice("Mend who holds it, as the findings of the holders say; the server then recycles it by itself at the next checkpoint");
        }
    }
    if archiver.is_on() && !archiver.configured {
        report
            .warning("archive_mode is on, and there is neither archive_command nor archive_library")
            .detail("Every segment stays until it is archived, so the WAL grows until the volume is full.")
            .advice("Set archive_command, or turn archive_mode off (which needs a restart)");
    }
    if archiver.fails() {
        let held = seen.holders.iter().find(|holder| holder.kind == Kind::Archiver).map_or(0, |holder| holder.bytes);
        let severity = if held >= parameters.critical_held_bytes { Severity::Critical } else { Severity::Warning };
        let waiting =
            archiver.waiting.map_or_else(|| "an unknown number of files".to_owned(), |n| format!("{n} file(s)"));
        report
            .finding(severity, format!("the archiver fails: {waiting} wait, {} of WAL", size(held)))
            .detail(format!(
                "It last failed at {}, and has failed {} times. All of it stays in pg_wal until it is archived. {NEVER}",
                archiver.last_failed.as_deref().unwrap_or("an unknown file"),
                archiver.failed
            ))
            .advice("See the server's log for what archive_command says. Where its destination is full, postgres-archive-cleanup makes room there");
    }
}

pub(crate) fn holders(seen: &Seen<'_>, report: &mut Report) {
    let Parameters { warn_held_bytes, critical_held_bytes, .. } = *seen.parameters;
    for holder in seen.holders {
        #[allow(clippy::cast_precision_loss, reason = "a metric")]
        report.metric("wal_held_bytes", &[("holder", &holder.name)], holder.bytes as f64);
        let Holder { name, bytes, .. } = holder;
        if *bytes < warn_held_bytes || holder.status.as_deref() == Some("lost") {
            continue;
        }
        let title = format!("{} {name} holds {} of WAL", holder.kind.word(), size(*bytes));
        match (holder.kind, holder.active) {
            (Kind::PhysicalSlot | Kind::LogicalSlot, Some(false)) => {
                let severity = if *bytes >= critical_held_bytes { Severity::Critical } else { Severity::Warning };
                let bound = match seen.wal.max_slot_wal_keep_size {
                    -1 => "nothing bounds it (max_slot_wal_keep_size is -1)".to_owned(),
                    most => format!("max_slot_wal_keep_size bounds it at {}", size(most)),
                };
                report
                    .finding(severity, title)
                    .detail(format!("Nobody is connected to it, and {bound}. {NEVER}"))
                    .advice("Bring its reader back; or, once nothing needs the slot any more, as a superuser: select pg_drop_replication_slot(its name)");
            }
            (Kind::PhysicalSlot | Kind::LogicalSlot, _) => {
                report.warning(title).detail(format!("Its reader is connected and so far behind. {NEVER}")).remedy(
                    "postgres-health",
                    &json!({ "checks": ["replication"] }),
                    "shows how far each replica is behind, and why",
                );
            }
            // One that fails is told of by itself.
            (Kind::Archiver, _) if !seen.wal.archiver.fails() => {
                report
                    .warning(title)
                    .detail(format!("It works, and slower than WAL is written. {NEVER}"))
                    .advice("Make archive_command faster, for example by compressing less or by archiving several files at once");
            }
            _ => {}
        }
    }
}

pub(crate) fn tables(seen: &Seen<'_>, report: &mut Report) {
    for table in seen.tables {
        let (live, dead) = (table.rows.unwrap_or(0).max(0), table.dead_rows.unwrap_or(0));
        let share = ratio(dead, live + dead);
        if dead >= MANY_DEAD && share >= seen.parameters.warn_dead_share {
            report
                .warning(format!("{}: {:.0} % of its rows are dead", table.table, share * 100.0))
                .detail(format!(
                    "{dead} dead rows in {}. Vacuumed, their space is used again; it is not given back to the volume.",
                    size(table.total_bytes)
                ))
                .remedy(
                    "postgres-vacuum",
                    &json!({ "tables": [table.table] }),
                    "vacuums it and says who holds its dead rows",
                );
        }
    }
}

pub(crate) fn growth(seen: &Seen<'_>, growth: &Growth, report: &mut Report) {
    if growth.seconds < SHORTEST {
        report.note("`previous` is less than an hour old: no days left are told from so little");
        return;
    }
    let a_day = growth.databases_bytes_per_day;
    let left = seen.parameters.capacity_bytes.map(|capacity| (capacity - seen.taken()).max(0));
    let least = seen.volumes.and_then(|volumes| {
        volumes.iter().min_by_key(|volume| volume.available_bytes).map(|volume| volume.available_bytes)
    });
    let Some(left) = least.or(left).filter(|_| a_day > 0.0) else { return };
    #[allow(clippy::cast_precision_loss, reason = "a number of days")]
    let days = left as f64 / a_day;
    report.metric("volume_days_left", &[], days);
    if days < seen.parameters.warn_days_left {
        let severity = if days < 1.0 { Severity::Critical } else { Severity::Warning };
        #[allow(clippy::cast_possible_truncation, reason = "shown with one digit")]
        let rate = size(a_day as i64);
        report
            .finding(severity, format!("the volume is full in {days:.1} days at this growth"))
            .detail(format!("The databases grow by {rate} a day, and {} are left.", size(left)))
            .advice("Enlarge the volume, or remove what is not needed from the tables that grew most");
    }
}

pub(crate) fn show(seen: &Seen<'_>, databases: &[Database], growth: Option<&Growth>, report: &mut Report) {
    if let Some(volumes) = seen.volumes {
        let mut table =
            report.table("volumes", "Volumes", ["pod", "path", "mounted at", "size", "used", "share", "inodes"]);
        for volume in volumes {
            table.row(cells![
                &volume.pod,
                &volume.path,
                &volume.mount,
                bytes(volume.size_bytes),
                bytes(volume.used_bytes),
                Ratio(volume.used_share),
                volume.inodes_share.map(Ratio)
            ]);
        }
    }
    let mut table = report.table("databases", "Databases", ["database", "size"]);
    for database in databases {
        table.row(cells![&database.name, database.bytes.map(bytes)]);
    }
    if !seen.tables.is_empty() {
        let mut table = report.table(
            "tables",
            "Largest tables",
            ["table", "total", "table alone", "indexes", "rows, about", "dead", "grown"],
        );
        for one in seen.tables {
            let grown = growth.and_then(|growth| growth.tables.iter().find(|grown| grown.table == one.table));
            table.row(cells![
                &one.table,
                bytes(one.total_bytes),
                bytes(one.table_bytes),
                bytes(one.index_bytes),
                one.rows,
                one.dead_rows,
                grown.map(|grown| size(grown.bytes))
            ]);
        }
    }
    if !seen.holders.is_empty() {
        let mut table = report.table("holders", "Who holds WAL", ["holder", "kind", "holds", "active", "status"]);
        for holder in seen.holders {
            table.row(cells![
                &holder.name,
                holder.kind.word(),
                bytes(holder.bytes),
                holder.active,
                holder.status.as_ref()
            ]);
        }
    }
}

pub(crate) fn summary(seen: &Seen<'_>, server: &Server, report: &Report) -> String {
    let wal = seen.wal.bytes.map_or_else(|| "unknown".to_owned(), size);
    let fullest = seen.volumes.unwrap_or_default().iter().map(|volume| volume.used_share).max_by(f64::total_cmp);
    let full = fullest.map_or_else(String::new, |share| format!(", fullest volume {:.0} %", share * 100.0));
    let to_do = report.count(Severity::Critical) + report.count(Severity::Warning);
    let findings = if to_do == 0 { String::new() } else { format!(", {to_do} to look at") };
    format!(
        "PostgreSQL {}: databases {}, WAL {wal}{full}{findings}",
        server.release(),
        size(seen.measured.databases_bytes)
    )
}

fn bytes(count: i64) -> Bytes {
    Bytes(u64::try_from(count).unwrap_or(0))
}

#[allow(clippy::cast_precision_loss, reason = "a share")]
fn ratio(part: i64, whole: i64) -> f64 {
    if whole <= 0 { 0.0 } else { part as f64 / whole as f64 }
}
