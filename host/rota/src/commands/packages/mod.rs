//! `rota plugins pull|push|update|outdated|remove|pin|rollback|verify`: packages of registries, and the lock that says which build runs.

mod change;
mod push;

pub(crate) use change::{outdated, pin, remove, rollback, update};
pub(crate) use push::{Published, push, put};

use super::{Printing, print, print_json};
use crate::output::{bold, coloured, dim, format, safe, table};
use crate::settings::UsageError;
use rota_catalog::{Catalog, CatalogError};
use rota_packages::{Build, Entry, PackageError, PackageRef};
use serde_json::{Value, json};

/// The exit status where a plugin cannot be used: the same whichever command finds it. What a registry or the disk does not give is no
/// mistake of whoever asks; anything else (no such plugin, a rule of trust, a damaged package) is usage or configuration.
pub(crate) fn status_of(error: &CatalogError) -> u8 {
    match error {
        CatalogError::Package(PackageError::Registry(_) | PackageError::Blob(_)) => 1,
        _ => 2,
    }
}

/// The whole reference of what people call a locked plugin by; none where that is nothing or several.
pub(crate) fn reference_of(catalog: &Catalog, name: &str) -> Option<String> {
    // A plugin of the binary or of the folder is meant by its name.
    if catalog.list().iter().any(|entry| entry.name == name) {
        return None;
    }
    match catalog.entries(Some(name)).ok()?.as_slice() {
        [entry] => Some(entry.reference.clone()),
        _ => None,
    }
}

/// The one entry that a name means.
fn one(catalog: &Catalog, name: &str) -> anyhow::Result<Entry> {
    let mut entries = catalog.entries(Some(name))?;
    match (entries.pop(), entries.is_empty()) {
        (Some(entry), true) => Ok(entry),
        (last, _) => {
            let all = entries.iter().chain(&last).map(|entry| entry.reference.as_str()).collect::<Vec<_>>().join(", ");
            Err(UsageError::new(format!("`{name}` is locked several times: name one of {all}")).into())
        }
    }
}

/// A build as an object for programs.
fn build_json(build: &Build) -> Value {
    json!({
        "version": build.version,
        "digest": build.component.hex(),
        "manifest": build.manifest,
        "size": build.size,
        "risk": build.risk,
        "imports": build.imports,
        "slots": build.slots.iter().map(|slot| json!({ "name": slot.name, "capability": slot.capability, "accesses": slot.accesses, "optional": slot.optional })).collect::<Vec<_>>(),
        "signer": build.signer,
        "locked": build.locked,
    })
}

/// An entry as an object for programs.
fn entry_json(entry: &Entry) -> Value {
    let mut object = build_json(&entry.build);
    object["reference"] = json!(entry.reference);
    object["plugin"] = json!(entry.name);
    object["pinned"] = json!(entry.pinned);
    object["previous"] = json!(entry.previous.iter().map(|build| &build.version).collect::<Vec<_>>());
    object
}

/// An entry for people.
fn show(entry: &Entry, said: &str) -> anyhow::Result<()> {
    let build = &entry.build;
    let mut lines = vec![
        format!("{} {}  {}  {said}", bold(&safe(&entry.name)), safe(&build.version), safe(&build.risk)),
        format!("  from      {}", safe(&entry.reference)),
        format!("  sha-256   {}, {}", build.component.hex(), format::bytes(build.size)),
    ];
    if let Some(manifest) = &build.manifest {
        lines.push(format!("  manifest  {manifest}"));
    }
    for (number, slot) in build.slots.iter().enumerate() {
        let head = if number == 0 { "may ask " } else { "        " };
        let optional = if slot.optional { " (optional)" } else { "" };
        lines.push(format!(
            "  {head}  {}: {} {}{optional}",
            safe(&slot.name),
            safe(&slot.capability),
            safe(&slot.accesses.join(", "))
        ));
    }
    lines.push(format!("  signer    {}", build.signer.as_deref().map_or_else(|| dim("nobody was asked for"), safe)));
    print(&lines.join("\n"))
}

/// Fetch a package and lock it.
pub(crate) async fn pull(catalog: &Catalog, reference: &str, printing: Printing) -> anyhow::Result<u8> {
    let package: PackageRef = reference.parse().map_err(|error| UsageError::new(format!("{error}")))?;
    let reference = package.to_string();
    let was_there = catalog.lock()?.get(&reference).is_some();
    // Of what is locked this fetches the locked build again where it is not here: what the lock says is not changed by a pull.
    catalog.load(&reference).await?;
    let lock = catalog.lock()?;
    let entry = lock.get(&reference).ok_or_else(|| anyhow::anyhow!("`{reference}` was locked, and is not any more"))?;
    let path = catalog.packages().map(|packages| packages.lock().path().display().to_string()).unwrap_or_default();
    if printing.human() {
        show(entry, if was_there { "was locked" } else { "is locked" })?;
        print(&format!("  lock      {}", safe(&path)))?;
        if was_there {
            print(&dim(&format!("  newer versions: rota plugins update {}", safe(&entry.reference))))?;
        }
    } else {
        let mut object = entry_json(entry);
        object["was_locked"] = json!(was_there);
        object["lock"] = json!(path);
        print_json(&object)?;
    }
    Ok(0)
}

/// Verify all that is locked: that it is here or can be had, is what its digests say, is let in by the rules of trust, and can be loaded.
pub(crate) async fn verify_all(catalog: &Catalog, printing: Printing) -> anyhow::Result<u8> {
    let (mut rows, mut objects, mut status) = (Vec::new(), Vec::new(), 0);
    for entry in catalog.entries(None)? {
        let error = catalog.look(&entry.reference).await.err();
        status = status.max(error.as_ref().map_or(0, status_of));
        let error = error.map(|error| error.to_string());
        let word = coloured(if error.is_some() { "failed" } else { "ok" });
        let said = error.as_deref().or(entry.build.signer.as_deref()).unwrap_or_default();
        rows.push(vec![safe(&entry.reference), safe(&entry.build.version), word, safe(said)]);
        let mut object = entry_json(&entry);
        object["error"] = json!(error);
        objects.push(object);
    }
    if printing.human() && rows.is_empty() {
        print("nothing is locked")?;
    } else if printing.human() {
        print(&table::plain(&["locked", "version", "", "signer"], &rows))?;
    } else {
        print_json(&Value::Array(objects))?;
    }
    Ok(status)
}
