//! Putting a component into a registry.

use super::{Printing, print, print_json};
use crate::cli::PushArgs;
use crate::output::{bold, format, safe};
use crate::settings::UsageError;
use rota_catalog::{Catalog, Loaded};
use rota_packages::artifact::About;
use rota_packages::{PackageRef, Pushed, Wanted, tag_of};
use serde_json::{Value, json};
use std::path::Path;

/// What was put into a registry.
pub(crate) struct Published {
    pub(crate) package: PackageRef,
    pub(crate) pushed: Pushed,
    pub(crate) loaded: Loaded,
}

impl Published {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "plugin": self.loaded.descriptor.name,
            "version": self.loaded.descriptor.version,
            "reference": self.package.to_string(),
            "manifest": self.pushed.manifest,
            "digest": self.pushed.component.hex(),
            "size": self.loaded.size,
            "was_there": self.pushed.was_there,
        })
    }

    pub(crate) fn to_text(&self) -> String {
        let said = if self.pushed.was_there { "was there already, just so" } else { "is published" };
        format!(
            "{} {said}\n  sha-256   {}, {}\n  manifest  {}",
            bold(&safe(&self.package.to_string())),
            self.pushed.component.hex(),
            format::bytes(self.loaded.size),
            self.pushed.manifest,
        )
    }
}

pub(crate) async fn push(catalog: &Catalog, args: &PushArgs, printing: Printing) -> anyhow::Result<u8> {
    let file = crate::commands::plugin::file_of(&args.what, printing).await?;
    let published = put(catalog, &file, &args.reference).await?;
    if printing.human() {
        print(&published.to_text())?;
    } else {
        print_json(&published.to_json())?;
    }
    Ok(0)
}

/// Put a component into a registry, under the version that it says it is.
pub(crate) async fn put(catalog: &Catalog, file: &Path, reference: &str) -> anyhow::Result<Published> {
    let package: PackageRef = reference.parse().map_err(|error| UsageError::new(format!("{error}")))?;
    // What no host would load is not published.
    let loaded = catalog.look(&crate::commands::plugin::reference(file)).await?;
    let descriptor = &loaded.descriptor;
    let version: semver::Version = descriptor.version.parse()?;
    let tag = tag_of(&version);
    match package.wanted() {
        Wanted::Matching(requirement) if *requirement == semver::VersionReq::STAR => {}
        Wanted::Tag(wanted) if *wanted == tag => {}
        Wanted::Tag(wanted) => {
            let text = format!(
                "the plugin says that it is {version}, and is not published as `{wanted}`: leave the tag away, or build the other version"
            );
            return Err(UsageError::new(text).into());
        }
        _ => {
            return Err(UsageError::new(format!(
                "`{reference}` names no place to publish to: write REGISTRY/NAME or REGISTRY/NAME:VERSION"
            ))
            .into());
        }
    }
    let package =
        package.at_tag(&tag).ok_or_else(|| UsageError::new(format!("the version {version} is too long for a tag")))?;
    let contract = rota_contract::CONTRACT_VERSION;
    let about = About {
        name: descriptor.name.clone(),
        version: version.to_string(),
        summary: descriptor.summary.clone(),
        imports: loaded.plugin.interfaces().iter().map(|one| format!("rota:runbook/{one}@{contract}")).collect(),
        exports: ["describe", "run", "compensate"]
            .into_iter()
            .filter(|name| *name != "compensate" || loaded.plugin.undoable())
            .map(str::to_owned)
            .collect(),
    };
    let Some(packages) = catalog.packages() else { anyhow::bail!("this host has no packages") };
    let component = loaded.component.to_vec().into();
    let pushed = packages
        .registry(package.registry())
        .map_err(rota_packages::PackageError::from)?
        .push(&package, component, &about)
        .await?;
    Ok(Published { package, pushed, loaded })
}
