//! From a binding to a connection: what the operator configured, and nothing else.

use crate::error::Place;
use async_nats::ConnectOptions;
use rota_capability::TlsFiles;
use rota_config::{JetstreamBinding, JetstreamLogin, JetstreamTarget};
use rota_contract::Error;
use rustls::ClientConfig;
use std::sync::Arc;
use std::time::Duration;

/// What is needed to connect, secrets read.
pub(crate) struct Settings {
    pub(crate) place: Place,
    pub(crate) target: JetstreamTarget,
    /// Certificates that are trusted, for NATS and for monitoring.
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
}

impl Settings {
    /// Read the secrets and certificates. Blocks on files.
    pub(crate) fn read(binding: &str, settings: &JetstreamBinding) -> Result<Self, Error> {
        let request_timeout = settings.request_timeout.into();
        let place = Place { binding: binding.to_owned(), patience: request_timeout };
        let target = settings
            .target()
            .map_err(|error| Error::Unavailable(format!("binding `{binding}` cannot be used: {error}")))?;
        let encrypted = target.tls || target.monitoring.iter().any(|address| address.starts_with("https://"));
        let tls = Arc::new(tls_files(&target).config(encrypted).map_err(|why| place.untrusted(&why))?);
        Ok(Self { place, target, tls, connect_timeout: settings.connect_timeout.into(), request_timeout })
    }

    fn options(&self) -> Result<ConnectOptions, Error> {
        let options = ConnectOptions::new()
            .name("rota")
            .connection_timeout(self.connect_timeout)
            .request_timeout(Some(self.request_timeout))
            // Only where the operator said: servers name others of their cluster by addresses of their own.
            .ignore_discovered_servers()
            .retain_servers_order()
            .max_reconnects(2);
        let options = match &self.target.login {
            JetstreamLogin::Anonymous => options,
            JetstreamLogin::User(user, password) => {
                let password = password.as_ref().map(|password| password.expose().to_owned()).unwrap_or_default();
                options.user_and_password(user.clone(), password)
            }
            JetstreamLogin::Token(token) => options.token(token.expose().trim().to_owned()),
            JetstreamLogin::Nkey(seed) => options.nkey(seed.expose().trim().to_owned()),
            JetstreamLogin::Credentials(file) => options.credentials(file.expose()).map_err(|_| {
                let binding = &self.place.binding;
                Error::Unavailable(format!(
                    "binding `{binding}` cannot be used: what `credentials` refers to is not the content of a .creds file"
                ))
            })?,
        };
        Ok(if self.target.tls {
            options.require_tls(true).tls_client_config(self.tls.as_ref().clone())
        } else {
            options
        })
    }

    /// Connect, within the binding's time.
    pub(crate) async fn connect(&self) -> Result<async_nats::Client, Error> {
        let address = |(host, port): &(String, u16)| {
            let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
            format!("{}://{host}:{port}", if self.target.tls { "tls" } else { "nats" })
        };
        let addresses: Result<Vec<async_nats::ServerAddr>, _> =
            self.target.servers.iter().map(|server| address(server).parse()).collect();
        let addresses = addresses.map_err(|_| self.place.unreachable("an address is none"))?;
        // Every server may take its time.
        let patience = self.connect_timeout.saturating_mul(u32::try_from(addresses.len()).unwrap_or(1));
        let connecting = self.options()?.connect(addresses);
        match tokio::time::timeout(patience, connecting).await {
            Ok(connected) => connected.map_err(|error| self.place.connecting(&error)),
            Err(_) => Err(self.place.connect_timed_out()),
        }
    }
}

fn tls_files(target: &JetstreamTarget) -> TlsFiles<'_> {
    TlsFiles {
        ca_file: target.ca_file.as_deref(),
        client_cert: target.client_cert.as_deref(),
        client_key: target.client_key.as_deref(),
    }
}
