//! The servers that all tests of one run share.
//!
//! nextest runs each test in a process of its own, so a server cannot be shared within the process. The
//! set-up script of `.config/nextest.toml` runs `rota-testbed up` once before the tests, which starts the
//! servers, tells the tests of them in these environment variables, and ends them when nextest has ended.
//! Where the variables are missing (plain `cargo test`) a process starts the servers that it uses.

use anyhow::Context;

use crate::postgres::PostgresVersion;
use crate::postgres_access::PostgresAccess;
use crate::s3::{S3Access, S3Keys};

/// The variable that holds the shared S3 service: port, filer's port, bucket and the two key pairs,
/// separated by spaces.
pub const S3_VARIABLE: &str = "ROTA_TESTBED_S3";

/// The variable that holds the path of the shared cluster's kubeconfig.
pub const CLUSTER_VARIABLE: &str = "ROTA_TESTBED_CLUSTER";

/// The variable that holds the URL of the shared PostgreSQL of a version, for its superuser.
#[must_use]
pub fn postgres_variable(version: PostgresVersion) -> String {
    format!("ROTA_TESTBED_POSTGRES_{}", version.major())
}

pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

pub(crate) fn postgres_from_url(version: PostgresVersion, url: &str) -> anyhow::Result<PostgresAccess> {
    let parts = || {
        let (password, rest) = url.strip_prefix("postgres://postgres:")?.split_once("@127.0.0.1:")?;
        Some((password, rest.split_once('/')?.0.parse().ok()?))
    };
    let (password, port) =
        parts().with_context(|| format!("{} is not of the testbed's form", postgres_variable(version)))?;
    Ok(PostgresAccess::new(version, port, password.to_owned()))
}

/// The value of [`S3_VARIABLE`] for a service.
#[must_use]
pub fn s3_to_text(s3: &S3Access) -> String {
    let S3Access { port, filer_port, bucket, keys, reader } = s3;
    format!(
        "{port} {filer_port} {bucket} {} {} {} {}",
        keys.access_key, keys.secret_key, reader.access_key, reader.secret_key
    )
}

pub(crate) fn s3_from_text(text: &str) -> anyhow::Result<S3Access> {
    let wrong = || format!("{S3_VARIABLE} is not of the testbed's form");
    let words: Vec<&str> = text.split(' ').collect();
    let [port, filer_port, bucket, keys @ ..] = words.as_slice() else { anyhow::bail!(wrong()) };
    let [access_key, secret_key, reader_access_key, reader_secret_key] = keys else { anyhow::bail!(wrong()) };
    let pair = |access_key: &str, secret_key: &str| S3Keys {
        access_key: access_key.to_owned(),
        secret_key: secret_key.to_owned(),
    };
    Ok(S3Access {
        port: port.parse().with_context(wrong)?,
        filer_port: filer_port.parse().with_context(wrong)?,
        bucket: (*bucket).to_owned(),
        keys: pair(access_key, secret_key),
        reader: pair(reader_access_key, reader_secret_key),
    })
}
