//! One bundle, held against one signer.

use super::key::PublicKey;
use super::reason::{Reason, shown};
use super::{PREDICATE, Signer, Subject, Who, digest_of, provider};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sigstore_crypto::{KeyAlgorithm, VerificationKey, parse_certificate_info};
use sigstore_trust_root::TrustedRoot;
use sigstore_types::bundle::VerificationMaterialContent;
use sigstore_types::{Bundle, DerPublicKey, HashAlgorithm, SignatureContent, Statement};
use sigstore_verify::{
    CertificateError, Error, PublicKeyVerificationPolicy, TransparencyLogError, VerificationPolicy, Verifier,
};

/// The authorities and logs of a `trusted_root.json`.
pub(super) struct Root {
    verifier: Verifier,
    authorities: bool,
    /// Whether it names a transparency log: then one must have the signature.
    logs: bool,
    /// Whether it names a certificate log: then one must have the certificate.
    certificate_logs: bool,
}

impl Root {
    /// Reads one.
    ///
    /// # Errors
    /// In words, when it is none or holds what cannot be used.
    pub(super) fn from_json(text: &str) -> Result<Self, String> {
        provider::install();
        let root = TrustedRoot::from_json(text).map_err(|error| format!("it is no trust root: {error}"))?;
        let verifier = Verifier::new(&root).map_err(|error| error.to_string())?;
        Ok(Self {
            verifier,
            authorities: !root.certificate_authorities.is_empty(),
            logs: !root.tlogs.is_empty(),
            certificate_logs: !root.ctlogs.is_empty(),
        })
    }

    /// Whether it names a certificate authority, without which nobody's identity can be known.
    pub(super) fn names_authorities(&self) -> bool {
        self.authorities
    }

    /// Whether it names a transparency log.
    pub(super) fn names_logs(&self) -> bool {
        self.logs
    }
}

/// A bundle that was read.
pub(super) struct Read(Bundle);

impl Read {
    /// Reads one.
    ///
    /// # Errors
    /// [`Reason::TooLarge`], [`Reason::Malformed`]
    pub(super) fn new(bytes: &[u8]) -> Result<Self, Reason> {
        if bytes.len() > super::LARGEST_BUNDLE {
            return Err(Reason::TooLarge);
        }
        let malformed = |detail: String| Reason::Malformed { detail: shown(&detail) };
        let text = std::str::from_utf8(bytes).map_err(|_| malformed("it is not text".to_owned()))?;
        Bundle::from_json(text).map(Self).map_err(|error| malformed(error.to_string()))
    }

    /// Whose it is, as far as it says: unverified.
    fn claim(&self) -> String {
        match &self.0.verification_material.content {
            VerificationMaterialContent::PublicKey(key) if key.hint.is_empty() => {
                "a key that it does not name".to_owned()
            }
            VerificationMaterialContent::PublicKey(key) => match STANDARD.decode(&key.hint) {
                // As people know keys, where the bundle names it so.
                Ok(digest) if digest.len() == 32 => {
                    format!("the key {}", hex::encode(digest).chars().take(16).collect::<String>())
                }
                _ => format!("the key {}", shown(&key.hint)),
            },
            _ => match self.0.signing_certificate().map(parse_certificate_info) {
                Some(Ok(info)) => {
                    let identity = info.identity.as_ref().map_or("nobody", |identity| identity.as_str());
                    let issuer = info.issuer.as_deref().unwrap_or("no issuer");
                    shown(&format!("{identity} ({issuer})"))
                }
                _ => "a certificate that cannot be read".to_owned(),
            },
        }
    }

    /// That it is over these bytes, as far as it says, and a signature.
    fn is_over(&self, bytes: &[u8]) -> Result<(), Reason> {
        let here = digest_of(bytes);
        match &self.0.content {
            SignatureContent::MessageSignature(message) => match &message.message_digest {
                Some(digest) if digest.algorithm == HashAlgorithm::Sha2256 => {
                    let signed = format!("sha256:{}", hex::encode(digest.digest.as_bytes()));
                    if signed == here { Ok(()) } else { Err(Reason::OtherBytes { signed, here }) }
                }
                // By another hash: the signature itself tells.
                Some(_) => Ok(()),
                // It may be left out, and nobody does: what would be told of other bytes is worth more.
                None => Err(Reason::Malformed { detail: "it does not say of what it is a signature".to_owned() }),
            },
            SignatureContent::DsseEnvelope(envelope) => {
                let malformed = |detail: String| Reason::Malformed { detail: shown(&detail) };
                if envelope.payload_type != "application/vnd.in-toto+json" {
                    return Err(malformed(format!("it holds a payload of the type {}", envelope.payload_type)));
                }
                let statement: Statement = serde_json::from_slice(envelope.payload.as_bytes())
                    .map_err(|error| malformed(format!("its statement: {error}")))?;
                if statement.type_ != Statement::TYPE_V1 {
                    return Err(malformed(format!("its statement is of the type {}", statement.type_)));
                }
                // Without this, any attestation of the same signer (a scan that found holes, say) would pass for a signature.
                if statement.predicate_type != PREDICATE {
                    return Err(Reason::NotASignature { kind: shown(&statement.predicate_type) });
                }
                let names: Vec<String> = statement
                    .subject
                    .iter()
                    .filter_map(|subject| subject.digest.sha256.as_ref())
                    .map(|digest| format!("sha256:{}", digest.to_hex()))
                    .collect();
                if names.contains(&here) {
                    return Ok(());
                }
                let signed = names.into_iter().next().unwrap_or_else(|| "no SHA-256".to_owned());
                Err(Reason::OtherBytes { signed, here })
            }
            _ => Err(Reason::Malformed { detail: "it holds a signature of an unknown form".to_owned() }),
        }
    }

    /// The signature itself, over the bytes or over the statement that names them, with a key. What is proven stays so for the
    /// verifier, which looks at the same again.
    fn verifies_with(&self, key: &DerPublicKey, bytes: &[u8]) -> Result<provider::Proven, sigstore_crypto::Error> {
        let algorithm = KeyAlgorithm::from_spki(key)?;
        match &self.0.content {
            SignatureContent::MessageSignature(message) => {
                let scheme = match &message.message_digest {
                    Some(digest) => algorithm.resolve_signing_scheme(digest.algorithm)?,
                    None => algorithm.default_signing_scheme(),
                };
                provider::prove(&VerificationKey::from_spki_with_scheme(key, scheme)?, bytes, &message.signature)
            }
            SignatureContent::DsseEnvelope(envelope) => {
                let key = VerificationKey::from_spki(key)?;
                provider::prove(&key, &envelope.pae(), &envelope.signature.sig)
            }
            _ => Err(sigstore_crypto::Error::Verification("a signature of an unknown form".to_owned())),
        }
    }

    /// That the holder of a key signed the subject, and, with a root, that its log has it.
    ///
    /// # Errors
    /// [`Reason`]
    pub(super) fn by_key(&self, subject: &Subject<'_>, key: &PublicKey, root: Option<&Root>) -> Result<Signer, Reason> {
        let bytes = subject.signed();
        self.is_over(bytes)?;
        let wrong = || Reason::WrongSigner { found: self.claim(), wanted: format!("key {}", key.fingerprint()) };
        let VerificationMaterialContent::PublicKey(named) = &self.0.verification_material.content else {
            return Err(wrong());
        };
        if !named.hint.is_empty() && named.hint != key.hint() {
            return Err(wrong());
        }
        // Without a hint, another key's signature cannot be told from one that was changed.
        let _proven = self.verifies_with(key.der(), bytes).map_err(|_| match named.hint.is_empty() {
            true => wrong(),
            false => Reason::Broken { detail: format!("it is not made by key {}, which it names", key.fingerprint()) },
        })?;
        let mut signed_at = None;
        if let Some(root) = root {
            self.is_logged()?;
            let policy = PublicKeyVerificationPolicy::new(key.der().clone());
            let verified = root.verifier.verify(bytes, &self.0, &policy).map_err(|error| self.reason(&error))?;
            signed_at = verified.verified_timestamps().iter().min().map(ToString::to_string);
        }
        Ok(Signer { who: Who::Key { fingerprint: key.fingerprint() }, signed_at, logged: root.is_some() })
    }

    /// That somebody whom an issuer vouched for signed the subject.
    ///
    /// # Errors
    /// [`Reason`]
    pub(super) fn by_identity(
        &self,
        subject: &Subject<'_>,
        identity: &str,
        issuer: &str,
        root: &Root,
    ) -> Result<Signer, Reason> {
        let bytes = subject.signed();
        self.is_over(bytes)?;
        let wrong = || Reason::WrongSigner { found: self.claim(), wanted: format!("{identity} ({issuer})") };
        let certificate = self.0.signing_certificate().ok_or_else(wrong)?;
        let info = parse_certificate_info(certificate)
            .map_err(|error| Reason::Malformed { detail: shown(&format!("its certificate: {error}")) })?;
        if info.identity.as_ref().map(|found| found.as_str()) != Some(identity)
            || info.issuer.as_deref() != Some(issuer)
        {
            return Err(wrong());
        }
        let mut policy = VerificationPolicy::new(identity, issuer);
        if root.logs {
            self.is_logged()?;
        } else {
            policy = policy.skip_tlog_unsafe();
        }
        if !root.certificate_logs {
            policy = policy.skip_sct();
        }
        let _proven = self
            .verifies_with(&info.public_key, bytes)
            .map_err(|_| Reason::Broken { detail: "it is not made by the key of its certificate".to_owned() })?;
        let verified = root.verifier.verify(bytes, &self.0, &policy).map_err(|error| self.reason(&error))?;
        // What is asked for was done: a version of the verifier that relaxes anything is refused rather than believed.
        if !verified.certificate_verified()
            || !verified.identity_policy_checked()
            || verified.tlog_verified() != root.logs
            || verified.sct_verified() != root.certificate_logs
        {
            return Err(Reason::Broken { detail: "the verifier left something out".to_owned() });
        }
        Ok(Signer {
            who: Who::Identity { identity: identity.to_owned(), issuer: issuer.to_owned() },
            signed_at: verified.verified_timestamps().iter().min().map(ToString::to_string),
            logged: root.logs,
        })
    }

    fn is_logged(&self) -> Result<(), Reason> {
        if self.0.has_inclusion_proof() {
            return Ok(());
        }
        Err(Reason::NotLogged { detail: "the bundle brings no proof of inclusion".to_owned() })
    }

    /// The verifier's error in the words that are ours.
    fn reason(&self, error: &Error) -> Reason {
        let detail = shown(&error.to_string());
        match error {
            Error::SignatureInvalid(_) | Error::ArtifactMismatch(_) => Reason::Broken { detail },
            Error::Certificate(CertificateError::Expired { time, not_after }) => {
                Reason::Expired { until: not_after.to_string(), time: Some(time.to_string()) }
            }
            Error::Certificate(CertificateError::NotYetValid { time, not_before }) => {
                Reason::Early { from: not_before.to_string(), time: Some(time.to_string()) }
            }
            Error::Certificate(CertificateError::ChainInvalid(_)) => {
                self.outside().unwrap_or(Reason::Authority { detail })
            }
            Error::Certificate(CertificateError::NoValidAuthority { .. }) => Reason::Authority { detail },
            Error::Certificate(CertificateError::Sct(_)) => Reason::NotLogged { detail },
            Error::TransparencyLog(TransparencyLogError::IntegratedTime(_)) => {
                self.outside().unwrap_or(Reason::NoTime { detail })
            }
            Error::TransparencyLog(TransparencyLogError::EntryMismatch(_)) => Reason::Broken { detail },
            Error::TransparencyLog(_) => Reason::NotLogged { detail },
            Error::Timestamp(_) => Reason::NoTime { detail },
            _ => Reason::Malformed { detail },
        }
    }

    /// When a chain is not valid at a time that was authenticated before it was looked at (the verifier does so first): whether
    /// that is for the certificate's own time.
    fn outside(&self) -> Option<Reason> {
        let info = parse_certificate_info(self.0.signing_certificate()?).ok()?;
        let mut times = self.0.verification_material.tlog_entries.iter().filter_map(|entry| entry.integrated_time);
        let outside = times.find(|time| *time < info.not_before || *time > info.not_after)?;
        let time = Some(outside.to_string());
        Some(if outside > info.not_after {
            Reason::Expired { until: info.not_after.to_string(), time }
        } else {
            Reason::Early { from: info.not_before.to_string(), time }
        })
    }
}
