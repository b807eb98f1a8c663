//! From a configured binding to a connection.

use crate::error::{Cluster, clean, fault};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use rota_config::{KubernetesBinding, SecretRef};
use rota_contract::Error;
use rota_telemetry::Secret;

/// The service account's namespace, in a pod.
const OWN_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// A client for a binding, and the namespace that is meant where none is named.
pub(crate) async fn connect(cluster: &Cluster, binding: &KubernetesBinding) -> Result<(kube::Client, String), Error> {
    let name = &cluster.0;
    let unfit = |text: String| fault("configuration", format!("binding `{name}`: {text}"), false);
    let mut config = match (&binding.kubeconfig, &binding.server) {
        (Some(reference), _) => of_kubeconfig(binding.context.clone(), reference).await.map_err(unfit)?,
        (None, Some(server)) => of_server(binding, server).map_err(unfit)?,
        (None, None) => Config::incluster().map_err(|error| unfit(clean(&error.to_string())))?,
    };
    if let Some((namespace, account)) = binding.service_account.as_deref().and_then(|account| account.split_once('/')) {
        config.auth_info.impersonate = Some(format!("system:serviceaccount:{namespace}:{account}"));
        config.auth_info.impersonate_groups = Some(vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".to_owned(),
        ]);
    }
    // A change is not made twice because an answer was lost.
    config.default_retry = false;
    config.connect_timeout = Some(std::time::Duration::from(binding.timeout));
    config.proxy_url = None;
    let first = binding.namespaces.iter().find(|namespace| *namespace != "*");
    let own = binding.namespace.as_ref().or(first).cloned().unwrap_or_else(|| own_namespace(binding, &config));
    let client = kube::Client::try_from(config).map_err(|error| cluster.of("connecting", &error))?;
    Ok((client, own))
}

fn own_namespace(binding: &KubernetesBinding, config: &Config) -> String {
    let mounted = || std::fs::read_to_string(OWN_NAMESPACE).ok().map(|text| text.trim().to_owned());
    let own = binding.in_cluster.then(mounted).flatten();
    own.unwrap_or_else(|| config.default_namespace.clone())
}

/// What a kubeconfig says, of this context or its current one.
pub(crate) async fn of_kubeconfig(context: Option<String>, reference: &SecretRef) -> Result<Config, String> {
    // Also where the path would do: a file that others can read or change is refused.
    let text = reference.resolve().map_err(|error| error.to_string())?;
    let kubeconfig = match reference {
        // By its path, from which relative ones in it are resolved.
        SecretRef::File(path) => Kubeconfig::read_from(path),
        _ => Kubeconfig::from_yaml(text.expose()),
    };
    let kubeconfig =
        kubeconfig.map_err(|error| format!("its kubeconfig cannot be used: {}", clean(&error.to_string())))?;
    remember(text.expose());
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    config.map_err(|error| format!("its kubeconfig cannot be used: {}", clean(&error.to_string())))
}

/// Have what a kubeconfig holds of secrets masked, each by itself.
fn remember(kubeconfig: &str) {
    for line in kubeconfig.lines() {
        let line = line.trim().trim_start_matches("- ");
        if let Some((key, value)) = line.split_once(':')
            && matches!(key, "token" | "password" | "client-key-data" | "id-token" | "refresh-token" | "client-secret")
        {
            let value = value.trim().trim_matches(['"', '\'']);
            if !value.is_empty() {
                drop(Secret::new(value));
            }
        }
    }
}

fn of_server(binding: &KubernetesBinding, server: &str) -> Result<Config, String> {
    let url = server.parse().map_err(|_| "`server` is not a URL".to_owned())?;
    let mut config = Config::new(url);
    config.root_cert_file.clone_from(&binding.ca_file);
    match &binding.token {
        // Read again when it was renewed.
        Some(reference @ SecretRef::File(path)) => {
            reference.resolve().map_err(|error| error.to_string())?;
            config.auth_info.token_file = Some(path.display().to_string());
        }
        Some(reference) => {
            let secret = reference.resolve().map_err(|error| error.to_string())?;
            config.auth_info.token = Some(secret.expose().to_owned().into());
        }
        None => {}
    }
    Ok(config)
}
