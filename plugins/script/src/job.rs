//! Jobs of a cluster, and what is waited for of its objects, as a script says them.

use crate::cluster::text;
use crate::flow;
use crate::value::Js;
use rota_sdk::cluster::{Condition, Job, SecretVariable};
use rota_sdk::prelude::*;

/// A job: one pod that runs one command to its end.
pub(crate) fn job(given: &Js) -> Result<Job> {
    const KNOWN: [&str; 10] =
        ["name", "image", "command", "namespace", "variables", "secrets", "serviceAccount", "seconds", "memory", "cpu"];
    if let Js::Object(members) = given
        && let Some((name, _)) = members.iter().find(|(name, _)| !KNOWN.contains(&name.as_str()))
    {
        return Err(Error::new(format!("a job has no `{name}`")).hint(format!("it has {}", KNOWN.join(", "))));
    }
    let needed = |name: &str| {
        text(given, name)?.ok_or_else(|| {
            Error::new(format!("a job needs `{name}`"))
                .hint("cluster.runJob({ name, image: \"registry/name@sha256:...\", command: [...], seconds: 600 })")
        })
    };
    let words = match given.member("command") {
        Js::List(words) => words.iter().map(flow::text).collect::<Result<_>>()?,
        Js::Undefined | Js::Null => Vec::new(),
        _ => return Err(Error::new("the command of a job is an array of texts")),
    };
    let variables = match given.member("variables") {
        Js::Object(all) => {
            all.iter().map(|(name, value)| Ok((name.clone(), flow::text(value)?))).collect::<Result<_>>()?
        }
        _ => Vec::new(),
    };
    let secret_variables = match given.member("secrets") {
        Js::Object(all) => all
            .iter()
            .map(|(name, from)| match (text(from, "secret")?, text(from, "key")?) {
                (Some(secret), Some(key)) => Ok(SecretVariable { name: name.clone(), secret, key }),
                _ => Err(Error::new("a variable from a Secret is { secret: NAME, key: KEY }")),
            })
            .collect::<Result<_>>()?,
        _ => Vec::new(),
    };
    let deadline_seconds = match given.member("seconds") {
        Js::Number(seconds) if *seconds >= 1.0 && *seconds < 1e9 => *seconds as u32,
        Js::Undefined | Js::Null => 600,
        _ => return Err(Error::new("`seconds` is how long the job may take, at least 1")),
    };
    Ok(Job {
        namespace: text(given, "namespace")?,
        name: needed("name")?,
        image: needed("image")?,
        words,
        variables,
        secret_variables,
        service_account: text(given, "serviceAccount")?,
        deadline_seconds,
        memory: text(given, "memory")?,
        cpu: text(given, "cpu")?,
    })
}

/// What is waited for: `"exists"`, `"gone"`, `"rolled-out"`, `{ status: ["Ready", "True"] }`, `{ field: ["/status/phase", "Running"] }`.
pub(crate) fn condition(given: &Js) -> Result<Condition> {
    let unknown = || {
        Error::new(
            "what is waited for is \"exists\", \"gone\", \"rolled-out\", { status: [\"Ready\", \"True\"] } or { field: [\"/status/phase\", \"Running\"] }",
        )
    };
    match given {
        Js::Text(word) => match word.as_str() {
            "exists" => Ok(Condition::Exists),
            "gone" => Ok(Condition::Gone),
            "rolled-out" => Ok(Condition::RolledOut),
            _ => Err(unknown()),
        },
        _ => match (given.member("status"), given.member("field")) {
            (Js::List(pair), _) => match pair.as_slice() {
                [Js::Text(name), Js::Text(status)] => Ok(Condition::Status((name.clone(), status.clone()))),
                _ => Err(unknown()),
            },
            (_, Js::List(pair)) => match pair.as_slice() {
                [Js::Text(pointer), value] => {
                    Ok(Condition::Field((pointer.clone(), value.clone().into_json().to_string())))
                }
                _ => Err(unknown()),
            },
            _ => Err(unknown()),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_job_has_what_it_needs_and_nothing_unknown() {
        let minimal = Js::object([("name", Js::text("tidy")), ("image", Js::text("r/i@sha256:0"))]);
        let read = job(&minimal).unwrap();
        assert_eq!((read.name.as_str(), read.deadline_seconds, read.words.len()), ("tidy", 600, 0));
        let Js::Object(mut more) = minimal else { unreachable!() };
        more.push(("privileged".into(), Js::Flag(true)));
        assert!(job(&Js::Object(more)).unwrap_err().to_string().contains("privileged"));
        assert!(job(&Js::object([("name", Js::text("x"))])).unwrap_err().to_string().contains("`image`"));
    }

    #[test]
    fn conditions_are_read() {
        assert!(matches!(condition(&Js::text("gone")).unwrap(), Condition::Gone));
        let status = Js::object([("status", Js::List(vec![Js::text("Ready"), Js::text("True")]))]);
        assert!(matches!(condition(&status).unwrap(), Condition::Status(_)));
        for wrong in [Js::text("away"), Js::Number(1.0), Js::object([("status", Js::List(vec![]))])] {
            assert!(condition(&wrong).is_err(), "{wrong:?}");
        }
    }
}
