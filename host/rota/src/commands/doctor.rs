//! `rota doctor`: is everything there that runs will need, and what to do where it is not.

use super::{Printing, print, print_json};
use crate::cli::DoctorArgs;
use crate::output::{bold, coloured, dim, safe};
use crate::settings::UsageError;
use rota_config::BindArgument;
use rota_runs::{Check, Host};
use serde_json::{Value, json};

pub(crate) async fn doctor(host: &Host, args: DoctorArgs, printing: Printing) -> anyhow::Result<u8> {
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
