//! Packages of a real registry, and the lock: what a team publishes, and what an operator lets in.

mod hostile;
mod lock;
mod many;
mod publish;
mod signed;

use crate::cli::schema;
use rota_testbed::Registry;
use rota_tests::{Rota, Said};
use serde_json::Value;
use std::path::PathBuf;

/// A plugin as a team writes it. It touches nothing: its slots are optional.
#[derive(Clone)]
struct Source {
    version: &'static str,
    risk: &'static str,
    slots: &'static str,
    parameters: &'static str,
    says: &'static str,
}

const FIRST: Source = Source {
    version: "1.0.0",
    risk: "observe",
    slots: r#"database: { capability: "sql", accesses: ["read"], purpose: "Where the sessions are.", optional: true },"#,
    parameters: r#"days: { type: "integer", description: "How old." },"#,
    says: "first",
};

/// The same with a write access and a slot more.
const WIDER: Source = Source {
    version: "1.2.0",
    risk: "change",
    slots: r#"database: { capability: "sql", accesses: ["read", "write"], purpose: "Where the sessions are.", optional: true },
    cache: { capability: "cache", accesses: ["read"], purpose: "Where they are too.", optional: true },"#,
    parameters: r#"days: { type: "integer", description: "How old." }, limit: { type: "integer", description: "How many." },"#,
    says: "wider",
};

impl Source {
    fn text(&self) -> String {
        let Self { version, risk, slots, parameters, says } = self;
        format!(
            r#"export default {{
  name: "expired-sessions", version: "{version}", summary: "Removes what expired.", description: "Removes what expired; needs read.",
  risk: "{risk}", idempotent: true, slots: {{ {slots} }},
  parameters: {{ type: "object", properties: {{ {parameters} }}, additionalProperties: false }},
  report: {{ type: "object", properties: {{ says: {{ type: "string", description: "Which build it was." }} }} }},
  examples: [{{ title: "As it is", parameters: {{}} }}],
  async run() {{ return {{ says: "{says}" }}; }},
}};
"#
        )
    }

    fn component(&self) -> Vec<u8> {
        rota_catalog::javascript(&self.text()).unwrap()
    }

    /// Its component in a file of a test's working folder.
    fn file(&self, rota: &Rota) -> String {
        let path: PathBuf = rota.path("work").join(format!("{}-{}.wasm", self.says, self.version));
        std::fs::write(&path, self.component()).unwrap();
        path.display().to_string()
    }

    /// Put into a registry by the binary.
    async fn push(&self, rota: &Rota, registry: &Registry) -> Value {
        ok(rota, &["plugins", "push", &self.file(rota), &package(registry, "")]).await
    }
}

/// The first one under another version.
fn version(version: &'static str, says: &'static str) -> Source {
    Source { version, says, ..FIRST }
}

fn package(registry: &Registry, rest: &str) -> String {
    format!("{}/growth/expired-sessions{rest}", registry.name())
}

async fn said(rota: &Rota, arguments: &[&str], status: i32) -> Said {
    let said = rota.run(arguments).await.unwrap();
    assert_eq!(said.status, Some(status), "{arguments:?}: {said:?}");
    said
}

async fn ok(rota: &Rota, arguments: &[&str]) -> Value {
    shaped(arguments, &said(rota, arguments, 0).await)
}

/// What a command printed, which must be what the schema says.
fn shaped(arguments: &[&str], said: &Said) -> Value {
    let definition = match arguments {
        ["plugins", "pull" | "pin" | "rollback", ..] => "locked",
        ["plugins", "verify"] => "plugins_verify",
        ["plugins", "update", ..] => "plugins_update",
        ["plugins", "outdated", ..] => "plugins_outdated",
        ["plugins", "push", ..] | ["plugin", "publish", ..] => "plugins_push",
        ["plugins", "remove", ..] => "plugins_remove",
        ["plugins", "sign", ..] => "plugins_sign",
        ["plugins", "keygen", ..] => "plugins_keygen",
        ["plugins", "list"] => "plugins_list",
        ["plugins", "verify", ..] => "plugin",
        ["plugin", "new", ..] => "plugin_new",
        _ => "answer",
    };
    schema::valid(definition, said)
}

/// What a command that is refused says.
async fn refused(rota: &Rota, arguments: &[&str], status: i32) -> String {
    let answer = said(rota, arguments, status).await.json().unwrap();
    answer["error"]["message"].as_str().unwrap().to_owned()
}

/// Which build a run was.
async fn runs(rota: &Rota, what: &str) -> String {
    let answer = ok(rota, &["run", what]).await;
    answer["report"]["data"]["says"].as_str().unwrap_or_default().to_owned()
}

fn job(plugin: &str) -> String {
    format!("[jobs.nightly]\nplugin = \"{plugin}\"\n")
}
