//! Whom a connection with TLS trusts, and as whom it shows itself.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;

/// The files of a connection with TLS, as the operator configured them.
#[derive(Debug, Clone, Copy)]
pub struct TlsFiles<'f> {
    /// Certificates to trust instead of the system's.
    pub ca_file: Option<&'f Path>,
    /// Our certificate.
    pub client_cert: Option<&'f Path>,
    /// Its key.
    pub client_key: Option<&'f Path>,
}

impl TlsFiles<'_> {
    /// What rustls needs to connect. Where nothing is `encrypted`, nobody need be trusted, and the system is not asked. Blocks on files.
    ///
    /// # Errors
    /// What is wrong with which file, or that there is nobody to trust.
    pub fn config(&self, encrypted: bool) -> Result<ClientConfig, String> {
        let mut roots = RootCertStore::empty();
        match self.ca_file {
            Some(file) => {
                for certificate in certificates(file)? {
                    roots.add(certificate).map_err(|error| format!("{}: {error}", file.display()))?;
                }
            }
            None if encrypted => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            None => {}
        }
        if encrypted && roots.is_empty() {
            return Err("there is no certificate to trust; are the system's installed (ca-certificates)?".into());
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots);
        match (self.client_cert, self.client_key) {
            (Some(cert), Some(key)) => {
                let shown = key.display();
                let key = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{shown}: {error}"))?;
                builder.with_client_auth_cert(certificates(cert)?, key).map_err(|error| error.to_string())
            }
            _ => Ok(builder.with_no_client_auth()),
        }
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    read.map_err(|error| format!("{}: {error}", file.display()))
}
