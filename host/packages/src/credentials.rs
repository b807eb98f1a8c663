//! The credentials of registries, as `docker login` leaves them: `config.json` in `$DOCKER_CONFIG` or `~/.docker`, and the programs that it names
//! (`docker-credential-NAME`). What is in them is in no error and no log.

use base64::Engine as _;
use rota_telemetry::Secret;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The largest configuration of docker, bytes.
const LARGEST: u64 = 1 << 20;
/// How long a helper may take: it may ask an agent, never a person.
const HELPER: Duration = Duration::from_secs(10);
/// What is read of a helper's answer, bytes.
const HELPER_ANSWER: u64 = 64 << 10;
/// The address under which docker keeps the credentials of its own registry.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// What a registry is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing.
    None,
    /// A user and a password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// What a token service gives a token for.
    Refresh(Secret),
    /// A token itself.
    Token(Secret),
}

impl Credentials {
    /// Whether there are any.
    pub fn are_there(&self) -> bool {
        *self != Self::None
    }
}

/// Why the credentials of a registry are not known.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// Docker's configuration.
    #[error("docker's configuration {} cannot be read: {reason}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A program that it names.
    #[error("the program docker-credential-{helper}, which docker's configuration names for {registry}, {reason}")]
    Helper {
        /// Its name.
        helper: String,
        /// The registry.
        registry: String,
        /// What it did.
        reason: String,
    },
    /// An entry that cannot be used.
    #[error("docker's configuration {} has no usable credentials for {registry}: {reason}", .path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The registry.
        registry: String,
        /// Why.
        reason: &'static str,
    },
}

/// Docker's configuration: where it is. It is read when credentials are asked for.
#[derive(Clone, Debug, Default)]
pub struct Docker {
    folder: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct File {
    auths: BTreeMap<String, Auth>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Helped {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

impl Docker {
    /// That of whoever runs this process: `$DOCKER_CONFIG`, or else `~/.docker`.
    pub fn from_process() -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self { folder: set("DOCKER_CONFIG").or_else(|| set("HOME").map(|home| home.join(".docker"))) }
    }

    /// That in a folder.
    pub fn of_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()) }
    }

    /// The credentials of a registry. A registry that the configuration does not know has none.
    ///
    /// # Errors
    /// When the configuration or the program that it names cannot be used.
    pub async fn credentials(&self, registry: &str) -> Result<Credentials, CredentialsError> {
        let Some(path) = self.folder.as_ref().map(|folder| folder.join("config.json")) else {
            return Ok(Credentials::None);
        };
        let Some(file) = read(&path)? else { return Ok(Credentials::None) };
        let keys = keys(registry);
        let named = keys.iter().find_map(|key| file.cred_helpers.get(key));
        let helper = named.or(file.creds_store.as_ref()).filter(|name| !name.is_empty());
        if let Some(helper) = helper {
            // The address that docker itself would ask for.
            let address = if registry == "docker.io" { DOCKER_HUB } else { registry };
            let found = ask(helper, address, registry).await?;
            if found.are_there() {
                return Ok(found);
            }
        }
        let auth = keys.iter().find_map(|key| file.auths.get(key));
        auth.map_or(Ok(Credentials::None), |auth| entry(auth, &path, registry))
    }
}

/// Under which names docker and its like keep a registry.
fn keys(registry: &str) -> Vec<String> {
    let mut keys = vec![registry.to_owned()];
    for (head, tail) in
        [("https://", ""), ("https://", "/"), ("https://", "/v1/"), ("https://", "/v2/"), ("http://", "")]
    {
        keys.push(format!("{head}{registry}{tail}"));
    }
    if registry == "docker.io" {
        keys.extend([DOCKER_HUB.to_owned(), "index.docker.io".to_owned()]);
    }
    keys
}

fn read(path: &Path) -> Result<Option<File>, CredentialsError> {
    use std::io::Read as _;
    let wrong = |reason: String| CredentialsError::File { path: path.to_owned(), reason };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(error.to_string())),
    };
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| wrong(error.to_string()))?;
    if bytes.len() as u64 > LARGEST {
        return Err(wrong("it is larger than 1 MiB".into()));
    }
    // The parser's own words may quote what stands there.
    let place = |error: serde_json::Error| {
        wrong(format!("it is not as docker writes it (line {}, column {})", error.line(), error.column()))
    };
    serde_json::from_slice(&bytes).map(Some).map_err(place)
}

fn entry(auth: &Auth, path: &Path, registry: &str) -> Result<Credentials, CredentialsError> {
    let there = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if let Some(token) = there(&auth.registrytoken) {
        return Ok(Credentials::Token(Secret::new(token)));
    }
    if let Some(token) = there(&auth.identitytoken) {
        return Ok(Credentials::Refresh(Secret::new(token)));
    }
    if let (Some(user), Some(password)) = (there(&auth.username), there(&auth.password)) {
        return Ok(Credentials::Basic { user, password: Secret::new(password) });
    }
    let Some(auth) = there(&auth.auth) else { return Ok(Credentials::None) };
    // Docker itself pads it; others do not.
    let encoded = Secret::new(auth);
    let decoded = base64::engine::general_purpose::STANDARD_NO_PAD
        .decode(encoded.expose().trim().trim_end_matches('='))
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let wrong = CredentialsError::Entry {
        path: path.to_owned(),
        registry: registry.to_owned(),
        reason: "its `auth` is no base64 of USER:PASSWORD; `docker login` writes it anew",
    };
    let decoded = decoded.ok_or(wrong)?;
    match decoded.split_once(':') {
        Some((user, password)) => {
            Ok(Credentials::Basic { user: user.into(), password: Secret::new(password.trim_end_matches('\0')) })
        }
        None => Err(CredentialsError::Entry {
            path: path.to_owned(),
            registry: registry.to_owned(),
            reason: "its `auth` has no `:` between user and password; `docker login` writes it anew",
        }),
    }
}

/// Ask `docker-credential-NAME get`.
async fn ask(helper: &str, address: &str, registry: &str) -> Result<Credentials, CredentialsError> {
    let wrong = |reason: String| CredentialsError::Helper {
        helper: helper.chars().filter(|c| !c.is_control()).take(60).collect(),
        registry: registry.into(),
        reason,
    };
    // It is looked for in PATH: it must not lead elsewhere.
    if !helper.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
        return Err(wrong("has a name that no such program has".into()));
    }
    let mut command = tokio::process::Command::new(format!("docker-credential-{helper}"));
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"ROTA_")) {
        command.env_remove(name);
    }
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => wrong("is not in PATH".into()),
        _ => wrong(format!("cannot be started: {error}")),
    })?;
    let talk = async {
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not read its input may still answer.
            let _ = stdin.write_all(address.as_bytes()).await;
        }
        let mut answer = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(HELPER_ANSWER).read_to_end(&mut answer).await?;
        }
        Ok::<_, std::io::Error>((answer, child.wait().await?))
    };
    let Ok(talked) = tokio::time::timeout(HELPER, talk).await else {
        return Err(wrong(format!("does not answer within {} s, and was ended", HELPER.as_secs())));
    };
    let (answer, status) = talked.map_err(|error| wrong(format!("broke: {error}")))?;
    if !status.success() {
        // What all of them say where they know nothing.
        if String::from_utf8_lossy(&answer).contains("credentials not found") {
            return Ok(Credentials::None);
        }
        return Err(wrong(format!("failed ({status})")));
    }
    let helped: Helped = serde_json::from_slice(&answer).map_err(|_| wrong("answers no JSON".into()))?;
    let secret = Secret::new(helped.secret);
    Ok(match helped.username.as_str() {
        _ if secret.is_empty() => Credentials::None,
        "<token>" => Credentials::Refresh(secret),
        user => Credentials::Basic { user: user.into(), password: secret },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(json: &str) -> (std::path::PathBuf, Docker) {
        let folder = std::env::temp_dir().join(format!("rota-docker-{:016x}", rand::random::<u64>()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config.json"), json).unwrap();
        (folder.clone(), Docker::of_folder(folder))
    }

    async fn of(json: &str, registry: &str) -> Result<Credentials, CredentialsError> {
        let (folder, docker) = folder(json);
        let found = docker.credentials(registry).await;
        std::fs::remove_dir_all(folder).unwrap();
        found
    }

    fn basic(user: &str, password: &str) -> Credentials {
        Credentials::Basic { user: user.into(), password: Secret::new(password) }
    }

    #[tokio::test]
    async fn entries_as_docker_and_others_write_them() {
        let auth = base64::engine::general_purpose::STANDARD.encode("me:se:cret-1");
        for key in ["r.example", "https://r.example", "https://r.example/v1/", "http://r.example"] {
            let json = serde_json::json!({ "auths": { key: { "auth": auth }, "other.example": { "auth": "x" } } });
            assert_eq!(of(&json.to_string(), "r.example").await.unwrap(), basic("me", "se:cret-1"), "{key}");
            assert_eq!(of(&json.to_string(), "r.example:5000").await.unwrap(), Credentials::None, "{key}");
        }
        let unpadded = auth.trim_end_matches('=');
        let json = format!(r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{unpadded}"}}}}}}"#);
        assert_eq!(of(&json, "docker.io").await.unwrap(), basic("me", "se:cret-1"));
        let json = r#"{"auths":{"r.example":{"username":"u","password":"p4ssword"},"t.example":{"identitytoken":"i-token"},"g.example":{"registrytoken":"r-token"}}}"#;
        assert_eq!(of(json, "r.example").await.unwrap(), basic("u", "p4ssword"));
        assert_eq!(of(json, "t.example").await.unwrap(), Credentials::Refresh(Secret::new("i-token")));
        assert_eq!(of(json, "g.example").await.unwrap(), Credentials::Token(Secret::new("r-token")));
        assert_eq!(of("{}", "r.example").await.unwrap(), Credentials::None);
        assert_eq!(Docker::of_folder("/nowhere").credentials("r.example").await.unwrap(), Credentials::None);
        assert_eq!(Docker::default().credentials("r.example").await.unwrap(), Credentials::None);
    }

    #[tokio::test]
    async fn what_cannot_be_used_is_said_without_what_it_is() {
        let words = |error: CredentialsError| {
            let text = format!("{error} {error:?}");
            assert!(!text.contains("hunter2") && !text.contains("aHVudGVyMg"), "{text}");
            text
        };
        let said = words(of(r#"{"auths": {"r.example": "hunter2"}}"#, "r.example").await.unwrap_err());
        assert!(said.contains("not as docker writes it (line 1, column"), "{said}");
        let said = words(of(r#"{"auths":{"r.example":{"auth":"aHVudGVyMg=="}}}"#, "r.example").await.unwrap_err());
        assert!(said.contains("no `:` between"), "{said}");
        let said = words(of(r#"{"auths":{"r.example":{"auth":"%hunter2%"}}}"#, "r.example").await.unwrap_err());
        assert!(said.contains("no base64"), "{said}");
        let said = words(of(r#"{"credsStore":"../../bin/evil"}"#, "r.example").await.unwrap_err());
        assert!(said.contains("a name that no such program has"), "{said}");
        let said = words(of(r#"{"credHelpers":{"r.example":"that-is-nowhere"}}"#, "r.example").await.unwrap_err());
        assert!(said.contains("docker-credential-that-is-nowhere") && said.contains("is not in PATH"), "{said}");
    }
}
