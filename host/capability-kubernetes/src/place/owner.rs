//! Jobs whose host is gone: each carries the process that made it, and the next one that makes a Job on the same machine removes those whose
//! process is no more. What another machine left behind ends by its own deadline: whether that host lives cannot be seen from here.

use crate::client::Client;
use crate::host::kubernetes::{DeleteOptions, Propagation};
use crate::reach::Place;
use crate::request::Call;
use crate::write::Change;
use serde_json::Value;

/// The machine, as far as process numbers mean the same: a boot of it, and a space of processes.
const MACHINE: &str = "rota/machine";
/// The process.
const PROCESS: &str = "rota/process";

/// The labels of what this process makes; none where the system does not tell.
pub(super) fn labels() -> Option<[(&'static str, String); 2]> {
    Some([(MACHINE, machine()?), (PROCESS, process()?)])
}

/// This process, told from all others of the machine.
pub(super) fn process() -> Option<String> {
    let pid = std::process::id();
    Some(format!("{pid}-{}", start_of(pid)?))
}

fn machine() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let space = std::fs::read_link("/proc/self/ns/pid").ok()?;
    let plain = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
    Some(format!("{}-{}", plain(boot.trim()), plain(&space.to_string_lossy())).chars().take(63).collect())
}

/// When a process started, in ticks since boot: the 22nd field of its `stat`, behind its name in parentheses.
fn start_of(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Whether the process that a label names is no more.
pub(super) fn is_gone(process: &str) -> bool {
    let parts = process.split_once('-').and_then(|(pid, start)| Some((pid.parse().ok()?, start.parse::<u64>().ok()?)));
    parts.is_some_and(|(pid, start)| start_of(pid) != Some(start))
}

/// Remove what dead processes of this machine left in the namespace of a Job that is about to be made. Nothing depends on it.
pub(super) async fn clear(client: &Client, job: &Place) {
    let Some([(_, machine), _]) = labels() else { return };
    let path = job.resource.path(&job.namespace);
    let selector = format!("app.kubernetes.io/managed-by=rota,{MACHINE}={machine}");
    let found = client.requests.json(Call::get("looking for left jobs", &path, &[("labelSelector", &selector)])).await;
    let list = match found {
        Ok(list) => list,
        // An account may make jobs and not list them.
        Err(error) => return tracing::debug!(%error, "jobs that a dead host left could not be looked for"),
    };
    for left in list["items"].as_array().into_iter().flatten() {
        let text = |at: &Value| at.as_str().unwrap_or_default().to_owned();
        let (name, uid) = (text(&left["metadata"]["name"]), text(&left["metadata"]["uid"]));
        if !is_gone(&text(&left["metadata"]["labels"][PROCESS])) {
            continue;
        }
        let options = DeleteOptions {
            uid: Some(uid),
            resource_version: None,
            grace_seconds: Some(1),
            propagation: Propagation::Background,
        };
        let place = Place { name: name.clone(), ..job.clone() };
        match client.clear_up(&Change::delete(place, &options)).await {
            Ok(()) => tracing::info!(job = name, "a job that a dead host left was removed"),
            Err(error) => tracing::debug!(job = name, %error, "a job that a dead host left could not be removed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_no_more_is_gone() {
        let [(_, machine), (_, mine)] = labels().unwrap();
        assert!(!is_gone(&mine) && machine.len() <= 63, "{machine} {mine}");
        let pid = std::process::id();
        assert!(is_gone(&format!("{pid}-1")) && is_gone("4194999-77"));
        assert!(!is_gone("") && !is_gone("x-1") && !is_gone("1"), "what cannot be read belongs to somebody");
    }
}
