//! How a test reaches a Kubernetes cluster: its own, or one that it shares with other tests.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::AsyncWriteExt as _;

use crate::tools::{random_secret, tool};

/// How long `kubectl` may take for what it does at once.
const KUBECTL: Duration = Duration::from_secs(60);

/// Address and administrator of a cluster, and what can be done with it.
#[derive(Clone, Debug)]
pub struct ClusterAccess {
    kubeconfig: PathBuf,
    server: String,
    token: String,
}

impl ClusterAccess {
    /// That of a kubeconfig that the testbed has written.
    pub(crate) fn read(kubeconfig: PathBuf) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(&kubeconfig).with_context(|| kubeconfig.display().to_string())?;
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": "));
            line.map(str::to_owned).with_context(|| format!("{} has no {name}", kubeconfig.display()))
        };
        Ok(Self { server: value("server")?, token: value("token")?, kubeconfig })
    }

    /// The kubeconfig of the administrator, who may do everything.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The address of the API server, like `https://127.0.0.1:12345`.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The token of the administrator.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The file with the certificate of the authority that signed the API server's.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.folder().join("ca.crt")
    }

    /// The folder with the logs of the cluster's parts (`kube-apiserver.log`, `rota-node.log` ...).
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.kubeconfig.parent().unwrap_or(Path::new("/"))
    }

    /// `kubectl` as the administrator, to be run by the caller.
    ///
    /// # Errors
    /// When `scripts/setup cluster` has not built it.
    pub fn kubectl_command(&self) -> anyhow::Result<tokio::process::Command> {
        let mut command = tokio::process::Command::new(tool("cluster/bin/kubectl")?);
        // What it caches goes with the cluster.
        command.env("KUBECONFIG", &self.kubeconfig).env("HOME", self.folder()).kill_on_drop(true);
        Ok(command)
    }

    /// Runs `kubectl` as the administrator and gives what it writes.
    ///
    /// # Errors
    /// With what it says, when its status is not 0.
    pub async fn kubectl<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> anyhow::Result<String> {
        self.kubectl_with_input(arguments, b"").await
    }

    /// The same with something on its standard input.
    ///
    /// # Errors
    /// With what it says, when its status is not 0.
    pub async fn kubectl_with_input<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
        input: &[u8],
    ) -> anyhow::Result<String> {
        let mut command = self.kubectl_command()?;
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take().context("stdin is piped")?;
        let feed = async {
            // One that ends without reading it all says why itself.
            let _ = stdin.write_all(input).await;
            drop(stdin);
        };
        let (output, ()) = tokio::time::timeout(KUBECTL, async { tokio::join!(child.wait_with_output(), feed) })
            .await
            .with_context(|| format!("kubectl took more than {KUBECTL:?}: {command:?}"))?;
        let output = output?;
        if !output.status.success() {
            bail!("kubectl ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A new namespace with a name of its own that begins with `prefix`. It is deleted, with all that is in it, with
    /// what is returned.
    ///
    /// # Errors
    /// When the cluster is away.
    pub async fn namespace(&self, prefix: &str) -> anyhow::Result<Namespace> {
        let prefix: String =
            prefix.to_lowercase().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect();
        let namespace = Namespace { access: self.clone(), name: format!("{prefix}-{}", &random_secret()?[..12]) };
        self.kubectl(["create", "namespace", &namespace.name]).await?;
        // Pods are refused until their service account and what it trusts are there. One call each: kubectl waits for one object that is missing,
        // and takes two that are missing for an error.
        for needed in ["serviceaccount/default", "configmap/kube-root-ca.crt"] {
            namespace.kubectl(["wait", "--for=create", needed, "--timeout=50s"]).await?;
        }
        Ok(namespace)
    }
}

/// A namespace of a test's own on a cluster that it may share.
///
/// Where it is dropped because the test has failed, what is in it is told on standard error, and the logs of the
/// cluster's parts are copied to a folder that stays.
#[derive(Debug)]
pub struct Namespace {
    access: ClusterAccess,
    name: String,
}

impl Namespace {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its cluster.
    #[must_use]
    pub fn cluster(&self) -> &ClusterAccess {
        &self.access
    }

    /// `kubectl` as the administrator in this namespace, to be run by the caller.
    ///
    /// # Errors
    /// When `scripts/setup cluster` has not built it.
    pub fn kubectl_command(&self) -> anyhow::Result<tokio::process::Command> {
        let mut command = self.access.kubectl_command()?;
        command.arg(format!("--namespace={}", self.name));
        Ok(command)
    }

    /// Runs `kubectl` as the administrator in this namespace and gives what it writes.
    ///
    /// # Errors
    /// With what it says, when its status is not 0.
    pub async fn kubectl<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> anyhow::Result<String> {
        self.kubectl_with_input(arguments, b"").await
    }

    /// The same with something on its standard input.
    ///
    /// # Errors
    /// With what it says, when its status is not 0.
    pub async fn kubectl_with_input<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
        input: &[u8],
    ) -> anyhow::Result<String> {
        let mut all = vec![format!("--namespace={}", self.name).into()];
        all.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self.access.kubectl_with_input(all, input).await
    }

    /// Creates or changes objects of this namespace, from YAML or JSON.
    ///
    /// # Errors
    /// When they are refused.
    pub async fn apply(&self, manifest: &str) -> anyhow::Result<()> {
        self.kubectl_with_input(["apply", "--filename=-"], manifest.as_bytes()).await?;
        Ok(())
    }

    /// An object as JSON.
    ///
    /// # Errors
    /// When there is none.
    pub async fn get(&self, kind: &str, name: &str) -> anyhow::Result<serde_json::Value> {
        Ok(serde_json::from_str(&self.kubectl(["get", kind, name, "--output=json"]).await?)?)
    }

    /// A new service account and a token of it, which is good for an hour. It may do nothing until a role is bound to it.
    ///
    /// # Errors
    /// When there is one of the name.
    pub async fn service_account(&self, name: &str) -> anyhow::Result<String> {
        self.kubectl(["create", "serviceaccount", name]).await?;
        Ok(self.kubectl(["create", "token", name, "--duration=1h"]).await?.trim().to_owned())
    }

    /// Allows a service account of this namespace some verbs on some resources of it: `(["get", "list"], ["pods"])`.
    ///
    /// # Errors
    /// When there is a role of the account's name.
    pub async fn allow(&self, account: &str, verbs: &[&str], resources: &[&str]) -> anyhow::Result<()> {
        let role = format!("{account}-{}", &random_secret()?[..6]);
        let (verbs, resources) = (verbs.join(","), resources.join(","));
        self.kubectl(["create", "role", &role, &format!("--verb={verbs}"), &format!("--resource={resources}")]).await?;
        let subject = format!("--serviceaccount={}:{account}", self.name);
        self.kubectl(["create", "rolebinding", &role, &format!("--role={role}"), &subject]).await?;
        Ok(())
    }

    /// A kubeconfig for whoever has a token, with this namespace as its default. The file goes with the cluster.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn kubeconfig_for(&self, token: &str) -> anyhow::Result<PathBuf> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = self.access.folder().join(format!("kubeconfig-{}-{}", self.name, random_secret()?));
        let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(kubeconfig(&self.access.server, &self.access.authority(), token, &self.name).as_bytes())?;
        Ok(path)
    }

    /// What helps to see why a test failed.
    fn tell(&self) {
        let Ok(kubectl) = tool("cluster/bin/kubectl") else { return };
        let show = |arguments: &[&str]| {
            let output = std::process::Command::new(&kubectl)
                .args([&format!("--namespace={}", self.name), "--request-timeout=5s"])
                .args(arguments)
                .env("KUBECONFIG", &self.access.kubeconfig)
                .env("HOME", self.access.folder())
                .output();
            if let Ok(output) = output {
                eprintln!("$ kubectl {}\n{}", arguments.join(" "), String::from_utf8_lossy(&output.stdout));
            }
        };
        eprintln!("What the namespace {} held:", self.name);
        show(&["get", "all", "--output=wide"]);
        show(&["get", "events", "--sort-by=.lastTimestamp"]);
        show(&["logs", "--selector=", "--all-containers", "--prefix", "--tail=20", "--ignore-errors"]);
        let kept = std::env::temp_dir().join("rota-cluster-logs").join(&self.name);
        if std::fs::create_dir_all(&kept).is_ok() {
            for entry in std::fs::read_dir(self.access.folder()).into_iter().flatten().flatten() {
                if entry.path().extension() == Some(OsStr::new("log")) {
                    let _ = std::fs::copy(entry.path(), kept.join(entry.file_name()));
                }
            }
            eprintln!("The logs of the cluster's parts are kept in {}", kept.display());
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        }
        let Ok(kubectl) = tool("cluster/bin/kubectl") else { return };
        // A cluster that is away already needs nothing.
        let _ = std::process::Command::new(kubectl)
            .args(["delete", "namespace", &self.name, "--wait=false", "--request-timeout=5s"])
            .env("KUBECONFIG", &self.access.kubeconfig)
            .env("HOME", self.access.folder())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

/// A kubeconfig with one context.
pub(crate) fn kubeconfig(server: &str, authority: &Path, token: &str, namespace: &str) -> String {
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: testbed
  cluster:
    server: {server}
    certificate-authority: {authority}
users:
- name: testbed
  user:
    token: {token}
contexts:
- name: testbed
  context:
    cluster: testbed
    user: testbed
    namespace: {namespace}
current-context: testbed
",
        authority = authority.display()
    )
}
