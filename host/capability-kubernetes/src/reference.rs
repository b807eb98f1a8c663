//! Values of Secrets that the configuration refers to (`kubernetes:NAMESPACE/SECRET/KEY`), for the host itself.
//!
//! They are read with the host's own login, when they are used: the service account of its pod, or the kubeconfig that `KUBECONFIG` names. No
//! guest comes this way, and no binding's rules apply: who writes the configuration says which secrets the host uses.

use crate::connect::of_kubeconfig;
use crate::error::clean;
use k8s_openapi::api::core::v1::Secret as Object;
use kube::{Api, Config};
use rota_config::SecretRef;
use std::time::Duration;

/// How long the cluster may take to answer.
const WITHIN: Duration = Duration::from_secs(10);

/// Reads one key of a Secret; what is wrong is said without any of it.
pub(crate) fn fetch(namespace: &str, secret: &str, key: &str) -> Result<Vec<u8>, String> {
    let [namespace, secret, key] = [namespace, secret, key].map(str::to_owned);
    // Who asks is not async, and may be on a thread that drives others: this has a thread and a runtime of its own.
    let asked = || {
        let thread = std::thread::Builder::new().name("rota-secret".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(|error| error.to_string())?.block_on(async {
                let read = read(&namespace, &secret, &key);
                let answer = tokio::time::timeout(WITHIN, read).await;
                answer.unwrap_or_else(|_| Err(format!("the cluster did not answer within {} s", WITHIN.as_secs())))
            })
        });
        let ended = thread.map_err(|error| error.to_string())?.join();
        ended.unwrap_or_else(|_| Err("the host broke while it asked the cluster".to_owned()))
    };
    let shared = tokio::runtime::Handle::try_current()
        .is_ok_and(|handle| handle.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread);
    if shared { tokio::task::block_in_place(asked) } else { asked() }
}

async fn read(namespace: &str, secret: &str, key: &str) -> Result<Vec<u8>, String> {
    let mut config = login().await?;
    config.connect_timeout = Some(WITHIN);
    config.proxy_url = None;
    let client = kube::Client::try_from(config).map_err(|error| clean(&error.to_string()))?;
    let object = Api::<Object>::namespaced(client, namespace).get_opt(secret).await.map_err(|error| match error {
        kube::Error::Api(status) if status.code == 403 => format!(
            "the cluster refuses it: the host's login needs the verb get on this Secret ({})",
            clean(&status.message)
        ),
        kube::Error::Api(status) => clean(&status.message),
        other => crate::error::Cluster("the host's own".into()).of("get", &other).to_string(),
    })?;
    let object = object.ok_or("there is no such Secret")?;
    // Its keys are no secret, and tell what was misspelt.
    let mut data = object.data.unwrap_or_default();
    let known = data.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    match data.remove(key) {
        Some(value) => Ok(value.0),
        None if known.is_empty() => Err("the Secret is empty".to_owned()),
        None => Err(format!("the Secret has no key `{}`; it has {}", clean(key), clean(&known))),
    }
}

async fn login() -> Result<Config, String> {
    match std::env::var_os("KUBECONFIG").filter(|path| !path.is_empty()) {
        Some(path) => of_kubeconfig(None, &SecretRef::File(path.into())).await,
        None if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() => {
            Config::incluster().map_err(|error| clean(&error.to_string()))
        }
        None => Err("Rota runs in no pod, and KUBECONFIG names no kubeconfig".to_owned()),
    }
}
