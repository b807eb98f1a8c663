//! What the targets must give: the second wall behind the grants, as statements of PostgreSQL and as objects of Kubernetes.
//!
//! Made from what the jobs are granted on each binding and, of a cluster, from the binding's own rules; nothing is reached for it.

use crate::settings::Settings;
use rota_capability_kubernetes::rbac_of;
use rota_capability_sql::Privileges;
use rota_config::{Binding, KubernetesBinding, KubernetesRule, SqlBinding};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// What the target of one binding must give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The binding.
    pub binding: String,
    /// `sql` or `yaml`.
    pub language: &'static str,
    /// To be read by whoever administers the target, and then applied.
    pub text: String,
}

/// The manifests of all bindings of databases and clusters that stand in a job's slot, or have rules.
pub fn manifests(settings: &Settings) -> Vec<Manifest> {
    let of = |(name, binding): (&String, &Binding)| {
        let granted = granted(settings, name);
        let (language, text) = match binding {
            Binding::Sql(binding) if !granted.is_empty() => ("sql", sql(name, binding, &granted)),
            Binding::Kubernetes(binding) if !granted.is_empty() || binding.allow.is_some() => {
                ("yaml", yaml(name, binding))
            }
            _ => return None,
        };
        Some(Manifest { binding: name.clone(), language, text })
    };
    settings.bindings.iter().filter_map(of).collect()
}

/// What jobs are granted on a binding, and which jobs.
fn granted(settings: &Settings, binding: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut granted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, job) in &settings.jobs {
        for (_, accesses) in job.slots.values().filter(|(at, _)| at == binding) {
            for access in accesses {
                granted.entry(access.clone()).or_default().insert(name.clone());
            }
        }
    }
    granted
}

/// What a role cannot do that jobs are granted on its binding, as far as the server's predefined roles tell it.
pub(crate) fn missing(settings: &Settings, binding: &str, has: &Privileges, standby: bool) -> Vec<String> {
    let granted = granted(settings, binding);
    let wants = |access: &str, has: bool, grant: &str| {
        let jobs = granted.get(access).filter(|_| !has)?;
        Some(format!("`{access}` (job {}) needs {grant}", jobs.iter().cloned().collect::<Vec<_>>().join(", ")))
    };
    if has.superuser {
        return Vec::new();
    }
    let promotes = has.promotes || !standby;
    [
        wants("signal", has.signals, "GRANT pg_signal_backend"),
        wants("promote", promotes, "GRANT EXECUTE ON FUNCTION pg_promote(boolean, integer)"),
        wants("alter-system", has.reloads, "GRANT EXECUTE ON FUNCTION pg_reload_conf()"),
        wants(
            "alter-system",
            has.cannot_alter.is_empty(),
            &format!("GRANT ALTER SYSTEM ON PARAMETER {} (PostgreSQL 15 and later)", has.cannot_alter.join(", ")),
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A name as SQL quotes it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn sql(name: &str, binding: &SqlBinding, granted: &BTreeMap<String, BTreeSet<String>>) -> String {
    // On one line: what follows a line break would stand outside of the comments.
    let role = quoted(&one_line(binding.role.as_deref().unwrap_or("rota")));
    let mut text =
        format!("-- Binding {}: the role that it needs. As a superuser, in the database itself.\n", one_line(name));
    for (access, jobs) in granted {
        writeln!(text, "--   {access}: {}", jobs.iter().map(|job| one_line(job)).collect::<Vec<_>>().join(", ")).ok();
    }
    writeln!(text, "CREATE ROLE {role} NOLOGIN;").ok();
    if binding.role.is_none() {
        writeln!(text, "-- The binding has no `role`: set role = \"rota\", or everything runs as the login itself.")
            .ok();
    }
    writeln!(text, "-- GRANT {role} TO the login of the binding's url;").ok();
    for access in granted.keys() {
        for line in grants(access, &role, &binding.alter_system) {
            writeln!(text, "{line}").ok();
        }
    }
    text
}

/// The statements for an access.
fn grants(access: &str, role: &str, parameters: &[String]) -> Vec<String> {
    match access {
        "alter-system" => alter_system(role, parameters),
        "read" => vec![
            format!("GRANT pg_monitor TO {role}; -- what others' sessions do: without it reports are never ok"),
            format!("-- GRANT pg_read_all_data TO {role}; -- only for procedures that read rows: backups, statements"),
        ],
        "maintain" => vec![
            format!(
                "-- GRANT pg_maintain TO {role}; -- PostgreSQL 17 and later: VACUUM, ANALYZE, REINDEX of everything"
            ),
            format!("-- GRANT the_owner TO {role}; -- before 17: the owner of the tables, or of the database"),
        ],
        "signal" => vec![format!("GRANT pg_signal_backend TO {role};")],
        "promote" => vec![format!("GRANT EXECUTE ON FUNCTION pg_catalog.pg_promote(boolean, integer) TO {role};")],
        "copy-out" => vec![format!("GRANT pg_read_all_data TO {role};")],
        "write" | "copy-in" => vec![format!("-- GRANT INSERT, UPDATE, DELETE ON the tables TO {role};")],
        "index" => vec![format!("-- GRANT the_owner TO {role}; -- an index is made by the owner of its table")],
        "ddl" => vec![format!("-- ALTER ROLE {role} CREATEDB; -- where databases are made (restore, verification)")],
        _ => Vec::new(),
    }
}

/// What the binding names, and nothing else.
fn alter_system(role: &str, parameters: &[String]) -> Vec<String> {
    let mut lines = match parameters {
        [] => vec![
            "-- alter-system: the binding names no parameter (alter_system = [...]), and nothing is set.".to_owned(),
        ],
        named => {
            let named: Vec<String> = named.iter().map(|name| quoted(&one_line(name))).collect();
            vec![format!("GRANT ALTER SYSTEM ON PARAMETER {} TO {role}; -- PostgreSQL 15 and later", named.join(", "))]
        }
    };
    lines.push(format!("GRANT EXECUTE ON FUNCTION pg_catalog.pg_reload_conf() TO {role};"));
    lines.push(format!(
        "GRANT SELECT ON pg_catalog.pg_file_settings TO {role}; -- what is written, and whether it took"
    ));
    lines.push(format!("GRANT EXECUTE ON FUNCTION pg_catalog.pg_show_all_file_settings() TO {role};"));
    lines
}

/// Within a comment, nothing ends the line.
fn one_line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

fn yaml(name: &str, binding: &KubernetesBinding) -> String {
    let own = binding.namespace.clone().or_else(|| binding.namespaces.iter().find(|n| *n != "*").cloned());
    let own = own.unwrap_or_else(|| "default".to_owned());
    let (home, account) = match binding.service_account.as_deref().and_then(|account| account.split_once('/')) {
        Some((home, account)) => (home.to_owned(), account.to_owned()),
        None => (own.clone(), "rota".to_owned()),
    };
    let mut text = format!("# Binding {}: what its account needs, from the binding's rules.\n", one_line(name));
    write!(
        text,
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{ name: {}, namespace: {} }}\n",
        word(&account),
        word(&home)
    )
    .ok();
    let Some(rules) = &binding.allow else {
        text.push_str(
            "# The binding has no `allow`: name there what its procedures need, and this prints the roles for it.\n",
        );
        return text;
    };
    let role = format!("rota-{name}");
    for (namespace, rules) in by_namespace(rules, binding, &own) {
        let (kind, place) = match namespace.as_str() {
            "*" => ("ClusterRole", String::new()),
            namespace => ("Role", format!(", namespace: {}", word(namespace))),
        };
        write!(
            text,
            "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata: {{ name: {}{place} }}\nrules:\n",
            word(&role)
        )
        .ok();
        for rule in rules {
            text.push_str(&rule);
        }
        write!(
            text,
            "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}Binding\nmetadata: {{ name: {role}{place} }}\n\
             roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: {kind}, name: {role} }}\n\
             subjects: [{{ kind: ServiceAccount, name: {}, namespace: {} }}]\n",
            word(&account),
            word(&home),
            role = word(&role),
        )
        .ok();
    }
    text
}

/// The rules of RBAC of each namespace; `*` for all of them.
fn by_namespace(rules: &[KubernetesRule], binding: &KubernetesBinding, own: &str) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for rule in rules {
        let namespaces = match (&rule.namespaces[..], &binding.namespaces[..]) {
            ([], []) => vec![own.to_owned()],
            ([], reached) => reached.to_vec(),
            (named, _) => named.to_vec(),
        };
        for namespace in namespaces {
            all.entry(namespace).or_default().extend(in_rbac(rule));
        }
    }
    all
}

/// Resources, and what is done to them.
type Need = (BTreeSet<String>, BTreeSet<&'static str>);

/// One rule as RBAC has it: a rule each for what can be narrowed to names, and for what cannot (create, list and watch).
fn in_rbac(rule: &KubernetesRule) -> Vec<String> {
    // Resource (with its subresource) to verbs, by group.
    let mut needs: BTreeMap<(String, bool), Need> = BTreeMap::new();
    let mut lines = Vec::new();
    for full in &rule.resources {
        let (resource, group) = full.split_once('.').unwrap_or((full, ""));
        let group = if full == "*" { "*" } else { group };
        let verbs: Vec<(&str, &str)> = if rule.verbs.iter().any(|verb| verb == "*") {
            vec![("*", "")]
        } else {
            rule.verbs.iter().flat_map(|verb| rbac_of(verb)).copied().collect()
        };
        for (verb, below) in verbs {
            let unnamed = matches!(verb, "create" | "list" | "watch" | "*") && below.is_empty();
            let resource = if below.is_empty() { resource.to_owned() } else { format!("{resource}/{below}") };
            let key = (format!("{group}\u{0}{resource}"), unnamed || rule.names.iter().any(|n| n.contains('*')));
            let need = needs.entry(key).or_default();
            need.0.insert(resource);
            need.1.insert(verb);
        }
    }
    if rule.verbs.iter().any(|verb| verb == "run") {
        // A job's pods are watched, and their logs read.
        lines.push(
            "  - { apiGroups: [\"\"], resources: [\"pods\"], verbs: [\"get\", \"list\", \"watch\"] }\n".to_owned(),
        );
        lines.push("  - { apiGroups: [\"\"], resources: [\"pods/log\"], verbs: [\"get\"] }\n".to_owned());
    }
    for ((key, unnamed), (resources, verbs)) in needs {
        let group = key.split('\u{0}').next().unwrap_or_default();
        let list = |words: Vec<&str>| words.into_iter().map(word).collect::<Vec<_>>().join(", ");
        let mut line = format!(
            "  - {{ apiGroups: [{}], resources: [{}], verbs: [{}]",
            word(group),
            list(resources.iter().map(String::as_str).collect()),
            list(verbs.into_iter().collect())
        );
        if !unnamed && !rule.names.is_empty() {
            write!(line, ", resourceNames: [{}]", list(rule.names.iter().map(String::as_str).collect())).ok();
        }
        line.push_str(" }\n");
        lines.push(line);
    }
    lines
}

/// A text as YAML reads it: JSON's quotes are YAML's.
fn word(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verbs: &[&str], resources: &[&str], names: &[&str]) -> KubernetesRule {
        let list = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        KubernetesRule {
            verbs: list(verbs),
            resources: list(resources),
            namespaces: Vec::new(),
            names: list(names),
            labels: Vec::new(),
        }
    }

    #[test]
    fn names_narrow_what_rbac_can_narrow() {
        assert_eq!(
            in_rbac(&rule(&["get", "list", "scale"], &["deployments.apps"], &["web"])),
            [
                "  - { apiGroups: [\"apps\"], resources: [\"deployments\"], verbs: [\"get\"], resourceNames: [\"web\"] }\n",
                "  - { apiGroups: [\"apps\"], resources: [\"deployments\"], verbs: [\"list\"] }\n",
                "  - { apiGroups: [\"apps\"], resources: [\"deployments/scale\"], verbs: [\"get\", \"patch\"], resourceNames: [\"web\"] }\n",
            ]
        );
        assert_eq!(
            in_rbac(&rule(&["exec"], &["pods"], &["db-*"])),
            [
                "  - { apiGroups: [\"\"], resources: [\"pods\"], verbs: [\"get\"] }\n",
                "  - { apiGroups: [\"\"], resources: [\"pods/exec\"], verbs: [\"create\", \"get\"] }\n",
            ]
        );
    }

    #[test]
    fn alter_system_is_granted_for_what_the_binding_names() {
        let lines = grants("alter-system", "\"rota\"", &["work_mem".to_owned(), "x\"; drop".to_owned()]);
        let grant =
            "GRANT ALTER SYSTEM ON PARAMETER \"work_mem\", \"x\"\"; drop\" TO \"rota\"; -- PostgreSQL 15 and later";
        assert_eq!(lines[0], grant);
        assert!(lines[1..].iter().all(|line| line.starts_with("GRANT ")), "{lines:?}");
        assert!(
            grants("alter-system", "\"rota\"", &[])[0].starts_with("-- alter-system: the binding names no parameter")
        );
    }

    #[test]
    fn a_name_cannot_break_out_of_a_statement_or_a_comment() {
        assert_eq!(quoted("a\"; drop role x; --"), "\"a\"\"; drop role x; --\"");
        assert_eq!(one_line("a\nDROP ROLE x;"), "aDROP ROLE x;");
    }
}
