//! `rota doctor`: is everything there that runs will need, and what to do where it is not.

use super::{Printing, print, print_json};
use crate::cli::DoctorArgs;
use crate::output::{bold, coloured, dim, safe};
use crate::settings::UsageError;
use rota_config::BindArgument;
use rota_runs::{Check, Host};
use serde_json::{Value, json};

pub(crate) async fn doctor(host: &Host, args: DoctorArgs, printing: Printing) -> anyhow::Result<u8> {
    if args.manifests {
        return manifests(host, args.binding.as_deref(), printing);
    }
    let names: Vec<String> = match &args.binding {
        None => host.settings().bindings.keys().cloned().collect(),
        Some(wanted) if host.settings().bindings.contains_key(wanted) => vec![wanted.clone()],
        Some(wanted) => {
            let binding = match BindArgument::parse(wanted) {
                Ok(BindArgument::AdHoc(binding)) => *binding,
                Ok(BindArgument::Configured(_)) => {
                    let known: Vec<String> = host.settings().bindings.keys().cloned().collect();
                    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                    anyhow::bail!(UsageError(format!("there is no binding `{wanted}`; configured are: {known}")));
                }
                Err(error) => anyhow::bail!(UsageError(error.to_string())),
            };
            let mut checks = host.check_host(args.fix).await;
            checks.push(host.check(AD_HOC, &binding, args.fix).await);
            return show(&checks, printing);
        }
    };
    let mut checks = host.check_host(args.fix).await;
    for name in &names {
        checks.push(host.check_binding(name, args.fix).await);
    }
    if names.is_empty() && printing.human() {
        print(&dim("no bindings are configured: nothing to reach (rota.toml.example shows how)"))?;
    }
    show(&checks, printing)
}

/// What the targets must give, to be read, and then applied by whoever administers them.
fn manifests(host: &Host, only: Option<&str>, printing: Printing) -> anyhow::Result<u8> {
    let mut all = rota_runs::manifests(&host.settings());
    if let Some(only) = only {
        if !host.settings().bindings.contains_key(only) {
            anyhow::bail!(UsageError(format!("there is no binding `{only}`: manifests are of configured bindings")));
        }
        all.retain(|manifest| manifest.binding == only);
    }
    if !printing.human() {
        let object = |m: &rota_runs::Manifest| json!({ "binding": m.binding, "language": m.language, "text": m.text });
        print_json(&Value::Array(all.iter().map(object).collect()))?;
    } else if all.is_empty() {
        print(&dim("no binding of kind sql or kubernetes is in a job's slot: nothing to print"))?;
    } else {
        print(&all.iter().map(|m| m.text.as_str()).collect::<Vec<_>>().join("\n"))?;
    }
    Ok(0)
}

/// The name of a binding that was given by its address.
const AD_HOC: &str = "given";

fn show(checks: &[Check], printing: Printing) -> anyhow::Result<u8> {
    if printing.human() {
        for check in checks {
            print(&human(check))?;
        }
    } else {
        let object = |check: &Check| {
            json!({
                "what": check.what,
                "kind": check.kind,
                "ok": check.ok,
                "found": check.found,
                "hint": check.hint,
                "mended": check.mended,
            })
        };
        print_json(&Value::Array(checks.iter().map(object).collect()))?;
    }
    Ok(u8::from(!checks.iter().all(|check| check.ok)))
}

fn human(check: &Check) -> String {
    let mut text = format!(
        "{:<9} {} {}  {}",
        coloured(if check.ok { "ok" } else { "failed" }),
        bold(&safe(&check.what)),
        dim(check.kind),
        safe(&check.found)
    );
    for mended in &check.mended {
        text.push_str(&format!("\n          mended: {}", safe(mended)));
    }
    if let Some(hint) = &check.hint {
        text.push_str(&format!("\n          {} {}", dim("->"), safe(hint)));
    }
    text
}
