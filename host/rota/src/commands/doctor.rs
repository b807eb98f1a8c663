//! `rota doctor`: is everything there that runs will need, and what to do where it is not.

use super::{Printing, print, print_json};
use crate::cli::DoctorArgs;
use crate::output::{bold, coloured, dim, safe};
use rota_runs::{Check, Host};
use serde_json::{Value, json};

pub(crate) async fn doctor(host: &Host, args: DoctorArgs, printing: Printing) -> anyhow::Result<u8> {
    let names: Vec<String> = host
        .settings()
        .bindings
        .keys()
        .filter(|name| args.binding.as_ref().is_none_or(|wanted| wanted == *name))
        .cloned()
        .collect();
    if let Some(wanted) = args.binding.as_ref().filter(|_| names.is_empty()) {
        let known: Vec<&str> = host.settings().bindings.keys().map(String::as_str).collect();
        anyhow::bail!(crate::settings::UsageError(format!(
            "there is no binding `{wanted}`; configured are: {}",
            known.join(", ")
        )));
    }
    let mut checks = host.check_host(args.fix).await;
    for name in &names {
        checks.push(host.check_binding(name, args.fix).await);
    }
    let sound = checks.iter().all(|check| check.ok);
    if printing.human() {
        for check in &checks {
            print(&human(check))?;
        }
        if names.is_empty() {
            print(&dim("no bindings are configured: nothing to reach (rota.toml.example shows how)"))?;
        }
    } else {
        let object = |check: &Check| json!({ "what": check.what, "kind": check.kind, "ok": check.ok, "found": check.found, "hint": check.hint, "mended": check.mended });
        print_json(&Value::Array(checks.iter().map(object).collect()))?;
    }
    Ok(u8::from(!sound))
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
