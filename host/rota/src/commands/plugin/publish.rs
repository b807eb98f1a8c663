//! `rota plugin publish`: check, cases, registry, signature; each only after the one before it.

use super::check::{Checked, examine};
use super::{Printing, print, print_json};
use crate::cli::PublishArgs;
use crate::commands::packages::{Published, put};
use crate::commands::sign::signing_key;
use crate::output::safe;
use crate::settings::UsageError;
use rota_catalog::{Catalog, Level};
use rota_packages::trust::SigningKey;
use serde_json::json;
use std::path::PathBuf;

pub(crate) async fn publish(catalog: &Catalog, args: &PublishArgs, printing: Printing) -> anyhow::Result<u8> {
    let (folder, reference) = match args.what.as_slice() {
        [reference] => (PathBuf::from("."), reference),
        [folder, reference] => (PathBuf::from(folder), reference),
        _ => return Err(UsageError::new("publish takes [FOLDER] REGISTRY/NAME").into()),
    };
    // Before anything is published: a key that cannot be read leaves nothing half done.
    let key = args.sign_key.as_ref().map(|key| signing_key(&key.to_string_lossy(), None)).transpose()?;
    let checked = examine(catalog, &folder, printing).await?;
    if checked.errors > 0 {
        return Err(UsageError::new(refused(&checked)).into());
    }
    // Cases that fail are among the errors.
    let tested = checked.cases;
    let published = put(catalog, &checked.file, reference).await?;
    let signed = match &key {
        Some(key) => Some(sign(catalog, &published, key).await?),
        None => None,
    };
    if printing.human() {
        print(&published.to_text())?;
        print(&format!(
            "  cases     {}",
            tested.map_or("none in the folder".into(), |cases| format!("{cases} passed"))
        ))?;
        print(&format!("  signature {}", signed.as_deref().map_or("none: --sign-key signs it".into(), safe)))?;
    } else {
        let mut object = published.to_json();
        object["warnings"] = json!(checked.findings.len());
        object["cases"] = json!(tested);
        object["signature"] = json!(signed);
        print_json(&object)?;
    }
    Ok(0)
}

fn refused(checked: &Checked) -> String {
    let errors = checked.findings.iter().filter(|finding| finding.level == Level::Error);
    let lines: Vec<String> =
        errors.map(|f| format!("  {}: {}\n    -> {}", f.rule, safe(&f.found), safe(&f.to_do))).collect();
    format!("nothing is published: `rota plugin check` refuses it\n{}", lines.join("\n"))
}

/// Sign what was published, and attach the signature to it. Answers who signed.
async fn sign(catalog: &Catalog, published: &Published, key: &SigningKey) -> anyhow::Result<String> {
    // What was just published, whatever its tag leads to by now.
    let package = published.package.at_digest(published.pushed.manifest.clone());
    crate::commands::sign::sign_package(catalog, &package, key).await?;
    Ok(format!("key {}", key.public().fingerprint()))
}
