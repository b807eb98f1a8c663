//! How much memory the server has.

use crate::{Context, Parameters};
use rota_sdk::cluster::{Kind, Object};
use rota_sdk::prelude::*;

/// The amount, and where it comes from.
pub(crate) async fn find(cx: &Context, session: &mut Session, parameters: &Parameters) -> Result<(i64, String)> {
    if let Some(given) = &parameters.memory {
        let bytes: i64 = session
            .query_one("select pg_size_bytes($1)", params![given])
            .await
            .context("reading `memory`")
            .hint("for example 8GB")?;
        return checked(bytes, "given".to_owned());
    }
    let (Some(slot), Some(name)) = (cx.cluster(), &parameters.pod) else {
        return Err(Error::new("how much memory the server has is not known: PostgreSQL does not say")
            .hint("give `memory`, or bind `cluster` and give `pod`"));
    };
    let cluster = slot.open().await?;
    let Some(pod) = cluster.get(&Object::pod(name)).await? else {
        return Err(
            Error::new(format!("there is no pod {name}")).hint("give the name of the pod that the server runs in")
        );
    };
    let containers = pod["spec"]["containers"].as_array().cloned().unwrap_or_default();
    let container = match &parameters.container {
        Some(wanted) => containers.iter().find(|container| container["name"] == *wanted.as_str()),
        None => containers.first(),
    };
    let Some(container) = container else { return Err(Error::new(format!("the pod {name} has no such container"))) };
    if let Some(limit) = container["resources"]["limits"]["memory"].as_str() {
        let bytes = quantity(limit).ok_or_else(|| Error::new(format!("the limit {limit:?} is no amount of memory")))?;
        return checked(
            bytes,
            format!("the limit of the container {}", container["name"].as_str().unwrap_or_default()),
        );
    }
    let node = pod["spec"]["nodeName"]
        .as_str()
        .ok_or_else(|| Error::new(format!("the pod {name} has no limit, and is on no node")))?;
    let found = cluster.get(&Kind::new("v1", "Node").named(node)).await?;
    let memory = found.as_ref().and_then(|node| node["status"]["allocatable"]["memory"].as_str()).and_then(quantity);
    match memory {
        Some(bytes) => checked(bytes, format!("the node {node}, as the container has no limit")),
        None => Err(Error::new(format!(
            "the container has no memory limit, and the node {node} does not say how much it has"
        ))
        .hint("give `memory`")),
    }
}

fn checked(bytes: i64, from: String) -> Result<(i64, String)> {
    if bytes < 256 << 20 {
        return Err(Error::new(format!("{} is too little to compute with", crate::compute::size(bytes)))
            .hint("256 MB is the least"));
    }
    Ok((bytes, from))
}

/// An amount as Kubernetes writes it: `8Gi`, `512M`, `2147483648`.
pub(crate) fn quantity(text: &str) -> Option<i64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: i64 = text[..end].parse().ok()?;
    let factor = match &text[end..] {
        "" => 1,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        _ => return None,
    };
    number.checked_mul(factor)
}
