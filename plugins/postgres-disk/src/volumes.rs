//! How full the volumes are: `df` in the server's pod, for bytes and for inodes.

use crate::Parameters;
use crate::sizes::Tablespace;
use rota_sdk::cluster::{Cluster, Command, Kind, Selection};
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;

/// How many pods are looked at.
const MOST_PODS: usize = 20;
/// How much `df` may say.
const MOST_BYTES: usize = 1 << 20;

/// The paths are its arguments, so that none becomes a piece of it. One that cannot be looked at does not hide the others.
const SCRIPT: &str = "LC_ALL=C; export LC_ALL; for path do printf 'path\\n'; df -kP \"$path\" && printf 'inodes\\n' && df -iP \"$path\"; done; printf 'end\\n'";

/// A path's volume, in one pod.
#[data]
pub(crate) struct Volume {
    /// The pod.
    pub(crate) pod: String,
    /// The path.
    pub(crate) path: String,
    /// Where its volume is mounted.
    pub(crate) mount: String,
    /// Its size, bytes.
    pub(crate) size_bytes: i64,
    /// What is used of it.
    pub(crate) used_bytes: i64,
    /// What can still be written to it.
    pub(crate) available_bytes: i64,
    /// The share that is used of what can be.
    pub(crate) used_share: f64,
    /// How many inodes it has; null where it has no fixed number.
    pub(crate) inodes: Option<i64>,
    /// How many of them are used.
    pub(crate) inodes_used: Option<i64>,
    /// The share of them.
    pub(crate) inodes_share: Option<f64>,
}

/// The volumes of all pods; none in a plan, which runs no command in a pod.
pub(crate) async fn look(
    cluster: &Cluster,
    parameters: &Parameters,
    data_directory: Option<&str>,
    tablespaces: &[Tablespace],
    server: &mut Server,
) -> Result<Option<Vec<Volume>>> {
    let paths = paths(parameters, data_directory, tablespaces)?;
    let pods = pods(cluster, parameters).await?;
    let mut all = Vec::new();
    let mut planned = false;
    for pod in pods {
        match df(cluster, parameters, &pod, &paths).await {
            Ok(None) => planned = true,
            Ok(Some(text)) => match parse(&pod, &paths, &text) {
                Ok((found, missing)) => {
                    all.extend(found);
                    for path in missing {
                        server.hide(format!("the volume of {path} in pod {pod}: df cannot look at it there"));
                    }
                }
                Err(error) => server.hide(format!("the volumes of pod {pod}: {error}")),
            },
            Err(error) if error.is_cancelled() || error.is_denied() => return Err(error),
            Err(error) => server.hide(format!("the volumes of pod {pod}: {error}")),
        }
    }
    if planned {
        server.hide("how full the volumes are: a plan runs no command in a pod");
        return Ok(None);
    }
    Ok(Some(all))
}

fn paths(parameters: &Parameters, data_directory: Option<&str>, tablespaces: &[Tablespace]) -> Result<Vec<String>> {
    if !parameters.paths.is_empty() {
        if let Some(bad) =
            parameters.paths.iter().find(|path| !path.starts_with('/') || path.contains(char::is_control))
        {
            return Err(Error::new(format!("{bad:?} is no absolute path")));
        }
        return Ok(parameters.paths.clone());
    }
    let Some(data) = data_directory else {
        return Err(Error::new("the role may not see where the data directory is")
            .hint("grant it pg_monitor, or name the paths to look at: -p paths='[\"/var/lib/postgresql/data\"]'"));
    };
    let mut paths = vec![data.to_owned(), format!("{}/pg_wal", data.trim_end_matches('/'))];
    paths.extend(tablespaces.iter().filter_map(|tablespace| tablespace.location.clone()));
    Ok(paths)
}

async fn pods(cluster: &Cluster, parameters: &Parameters) -> Result<Vec<String>> {
    match (&parameters.pod, &parameters.selector) {
        (Some(pod), None) => Ok(vec![pod.clone()]),
        (None, Some(selector)) => {
            let mut selection = Selection::all().labels(selector.clone());
            selection.namespace.clone_from(&parameters.namespace);
            let found = cluster.list(&Kind::new("v1", "Pod"), selection).await?.collect(MOST_PODS).await?;
            let running = found.iter().filter(|pod| pod["status"]["phase"] == "Running");
            let names: Vec<String> =
                running.filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned)).collect();
            if names.is_empty() {
                return Err(Error::new(format!("no running pod has the labels {selector:?}")));
            }
            Ok(names)
        }
        _ => Err(Error::new("the slot `cluster` is bound, and which pod to look at is not said")
            .hint("give one of `pod` and `selector`")),
    }
}

async fn df(cluster: &Cluster, parameters: &Parameters, pod: &str, paths: &[String]) -> Result<Option<String>> {
    let mut words = vec!["sh", "-c", SCRIPT, "rota"];
    words.extend(paths.iter().map(String::as_str));
    let mut command = Command::new(pod, &words);
    command.namespace.clone_from(&parameters.namespace);
    command.container.clone_from(&parameters.container);
    let child = cluster.exec(command, None).await?;
    let bytes = child.stdout()?.collect(MOST_BYTES).await?;
    if child.success().await?.is_planned() {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// What `df` said of each path, and the paths of which it said nothing.
fn parse(pod: &str, paths: &[String], text: &str) -> Result<(Vec<Volume>, Vec<String>)> {
    let Some(text) = text.strip_suffix("end\n") else {
        return Err(Error::new(format!("what df said in pod {pod} did not arrive whole")));
    };
    let mut volumes = Vec::new();
    let mut missing = Vec::new();
    for (path, said) in paths.iter().zip(text.split("path\n").skip(1)) {
        let (bytes, inodes) = said.split_once("inodes\n").unwrap_or((said, ""));
        let Some((size, used, available, mount)) = bytes.lines().find_map(numbers) else {
            missing.push(path.clone());
            continue;
        };
        // Some file systems make inodes as they need them, and say 0.
        let inodes = inodes.lines().find_map(numbers).filter(|(total, ..)| *total > 0);
        volumes.push(Volume {
            pod: pod.to_owned(),
            path: path.clone(),
            mount,
            size_bytes: size.saturating_mul(1024),
            used_bytes: used.saturating_mul(1024),
            available_bytes: available.saturating_mul(1024),
            used_share: share(used, available),
            inodes: inodes.as_ref().map(|(total, ..)| *total),
            inodes_used: inodes.as_ref().map(|(_, used, ..)| *used),
            inodes_share: inodes.as_ref().map(|(_, used, free, _)| share(*used, *free)),
        });
    }
    Ok((volumes, missing))
}

/// Total, used, available and the mount point of a line of `df -P`. Names of file systems and mount points may hold spaces, so the numbers are
/// looked for.
fn numbers(line: &str) -> Option<(i64, i64, i64, String)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let share = (4..words.len()).find(|&at| {
        let percent =
            words[at] == "-" || words[at].strip_suffix('%').is_some_and(|number| number.parse::<u32>().is_ok());
        percent && words[at - 3..at].iter().all(|word| *word == "-" || word.parse::<i64>().is_ok())
    })?;
    let number = |at: usize| words[at].parse::<i64>().unwrap_or(0);
    Some((number(share - 3), number(share - 2), number(share - 1), words[share + 1..].join(" ")))
}

#[allow(clippy::cast_precision_loss, reason = "a share")]
fn share(used: i64, free: i64) -> f64 {
    let all = used.max(0) + free.max(0);
    if all == 0 { 0.0 } else { used.max(0) as f64 / all as f64 }
}
