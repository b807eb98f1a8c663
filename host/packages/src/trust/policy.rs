//! The rules of the configuration, ready to be applied.

use super::key::PublicKey;
use super::reason::{Reason, Untrusted};
use super::verify::{Read, Root};
use super::{MOST_BUNDLES, Signer, Subject};
use rota_config::{Namespace, Trust, TrustFile, TrustRule, TrustedSigner};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The largest file that a rule names, bytes: the public instance's trust root has 7 KiB.
const LARGEST_FILE: u64 = 1 << 20;

/// Whose signatures are taken for which plugins.
#[derive(Default)]
pub struct Policy {
    trust: Trust,
    /// Of each rule that names signers, in its order.
    signers: HashMap<Namespace, Vec<Accepted>>,
    unready: Vec<Unready>,
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policy").field("trust", &self.trust).field("unready", &self.unready).finish_non_exhaustive()
    }
}

/// A file that a rule names and that cannot be used. Until it can, nobody that it stands for is trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("trust.\"{namespace}\".signed-by[{index}].{key}: {problem}")]
pub struct Unready {
    /// The rule.
    pub namespace: String,
    /// Which of its signers, from 0.
    pub index: usize,
    /// `key` or `root`.
    pub key: &'static str,
    /// The file, and what is wrong with it.
    pub problem: String,
}

impl Unready {
    /// The key of the configuration, as [`rota_config::Config::place`] takes it.
    pub fn place(&self) -> String {
        format!("trust.{}.signed-by[{}].{}", self.namespace, self.index, self.key)
    }
}

/// A signer of a rule.
struct Accepted {
    /// For people.
    shown: String,
    by: Result<By, String>,
}

enum By {
    Key { key: PublicKey, root: Option<Arc<Root>> },
    Identity { identity: String, issuer: String, root: Arc<Root> },
}

/// What a policy says of a plugin: what [`Policy::check`] decides by, and what people are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The rule for it; none if there is none, and then nothing was looked at.
    pub namespace: Option<String>,
    /// Whether it must be signed.
    pub required: bool,
    /// Whose signature is taken.
    pub accepted: Vec<String>,
    /// Who signed it, or why it may not run.
    pub result: Result<Option<Signer>, Reason>,
}

impl Verdict {
    /// As an object for programs.
    pub fn to_json(&self) -> Value {
        let signer = self.result.as_ref().ok().and_then(Option::as_ref);
        let reason = self.result.as_ref().err();
        json!({
            "rule": self.namespace,
            "required": self.required,
            "accepted": self.accepted,
            "trusted": self.result.is_ok(),
            "signer": signer,
            "refused": reason.map(|reason| json!({ "kind": reason.kind(), "message": reason.to_string() })),
        })
    }

    /// As one line for people.
    pub fn to_line(&self) -> String {
        match (&self.result, &self.namespace) {
            (Ok(Some(signer)), _) => format!("signed by {signer}"),
            (Ok(None), Some(namespace)) => format!("not signed, which [trust.\"{namespace}\"] allows"),
            (Ok(None), None) => "no rule of [trust] is for it: nobody's signature was looked for".to_owned(),
            (Err(reason), _) => reason.to_string(),
        }
    }
}

impl Policy {
    /// The policy of a configuration, its files read. A file that cannot be used is among [`Policy::unready`], and whom it stands for
    /// is not trusted.
    pub fn from_config(trust: &Trust) -> Self {
        let mut policy = Self { trust: trust.clone(), ..Self::default() };
        // One root may be named by many.
        let mut roots: HashMap<PathBuf, Result<Arc<Root>, String>> = HashMap::new();
        for (namespace, rule) in trust.iter() {
            let mut signers = Vec::new();
            for (index, signer) in rule.signed_by.iter().enumerate() {
                let mut root = |file: &TrustFile| {
                    let read = || read(file.as_path()).and_then(|text| Root::from_json(&text)).map(Arc::new);
                    let root = roots.entry(file.as_path().to_owned()).or_insert_with(read).clone();
                    root.map_err(|problem| ("root", problem_of(file, &problem)))
                };
                let (shown, by) = match signer {
                    TrustedSigner::Key { key: file, root: logged } => {
                        let key = read(file.as_path())
                            .and_then(|text| PublicKey::from_pem(&text).map_err(|error| error.to_string()))
                            .map_err(|problem| ("key", problem_of(file, &problem)));
                        let name = file.as_path().file_name().unwrap_or_default().to_string_lossy().into_owned();
                        let shown = match &key {
                            Ok(key) => format!("key {} ({name})", key.fingerprint()),
                            Err(_) => format!("the key of {name}"),
                        };
                        let root = match logged {
                            None => Ok(None),
                            Some(file) => root(file).and_then(|root| match root.names_logs() {
                                true => Ok(Some(root)),
                                false => Err((
                                    "root",
                                    problem_of(file, "it names no transparency log, and beside a key it is for that"),
                                )),
                            }),
                        };
                        (shown, key.and_then(|key| Ok(By::Key { key, root: root? })))
                    }
                    TrustedSigner::Identity { identity, issuer, root: file } => {
                        let root = root(file).and_then(|root| match root.names_authorities() {
                            true => Ok(root),
                            false => Err(("root", problem_of(file, "it names no certificate authority"))),
                        });
                        let by =
                            root.map(|root| By::Identity { identity: identity.clone(), issuer: issuer.clone(), root });
                        (format!("{identity} ({issuer})"), by)
                    }
                };
                let by = by.map_err(|(key, problem)| {
                    let unready = Unready { namespace: namespace.to_string(), index, key, problem };
                    let detail = unready.to_string();
                    policy.unready.push(unready);
                    detail
                });
                signers.push(Accepted { shown, by });
            }
            policy.signers.insert(namespace.clone(), signers);
        }
        policy
    }

    /// What of the configuration's files cannot be used.
    pub fn unready(&self) -> &[Unready] {
        &self.unready
    }

    /// Whether any rule is for a plugin. Where none is, its bundles need not be fetched.
    pub fn has_rule(&self, name: &str) -> bool {
        self.trust.rule(name).is_some()
    }

    /// Whether a plugin may run. `name` is `registry/repository` of a package, `NAME` of a component in the folder of plugins, and
    /// `file/NAME` of one that is run by its path. One of the bundles must be of one of the signers of the rule with the nearest
    /// namespace; others are no harm. Answers who signed; `None` without a rule, or where an unsigned one is allowed.
    ///
    /// # Errors
    /// [`Untrusted`], with the reason of the bundle that came nearest.
    pub fn check(
        &self,
        name: &str,
        subject: &Subject<'_>,
        bundles: &[Vec<u8>],
    ) -> Result<Option<Signer>, Box<Untrusted>> {
        let verdict = self.judge(name, subject, bundles);
        let namespace = verdict.namespace.unwrap_or_default();
        verdict
            .result
            .map_err(|reason| Box::new(Untrusted { name: rota_telemetry::clean_line(name), namespace, reason }))
    }

    /// [`Policy::check`] with what it was decided by.
    pub fn judge(&self, name: &str, subject: &Subject<'_>, bundles: &[Vec<u8>]) -> Verdict {
        let Some((namespace, rule)) = self.trust.rule(name) else {
            return Verdict { namespace: None, required: false, accepted: Vec::new(), result: Ok(None) };
        };
        let signers = self.signers.get(namespace).map(Vec::as_slice).unwrap_or_default();
        Verdict {
            namespace: Some(namespace.to_string()),
            required: rule.required,
            accepted: signers.iter().map(|signer| signer.shown.clone()).collect(),
            result: decide(rule, signers, subject, bundles),
        }
    }
}

fn problem_of(file: &TrustFile, problem: &str) -> String {
    rota_telemetry::clean_line(&format!("{}: {problem}", file.as_path().display()))
}

/// A file that trust rests on.
fn read(path: &Path) -> Result<String, String> {
    use std::io::Read as _;
    let file = rota_config::open_file(path).map_err(|error| error.to_string())?;
    let about = file.metadata().map_err(|error| error.to_string())?;
    // Whoever can write it can have any plugin run.
    if about.mode() & 0o002 != 0 {
        return Err("it can be changed by everyone; run: chmod o-w on it".to_owned());
    }
    let mut text = String::new();
    file.take(LARGEST_FILE + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > LARGEST_FILE {
        return Err("it is larger than 1 MiB".to_owned());
    }
    Ok(text)
}

fn decide(
    rule: &TrustRule,
    signers: &[Accepted],
    subject: &Subject<'_>,
    bundles: &[Vec<u8>],
) -> Result<Option<Signer>, Reason> {
    // Where nobody is named, nothing is asked for.
    if signers.is_empty() && !rule.required {
        return Ok(None);
    }
    if let Some(manifest) = subject.manifest {
        holds(manifest, subject.component)?;
    }
    let wanted = signers.iter().map(|signer| signer.shown.as_str()).collect::<Vec<_>>().join(" or ");
    if bundles.is_empty() {
        return if rule.required { Err(Reason::Unsigned { wanted }) } else { Ok(None) };
    }
    if bundles.len() > MOST_BUNDLES {
        return Err(Reason::TooMany { count: bundles.len() });
    }
    let mut nearest = Reason::Unsigned { wanted: wanted.clone() };
    let mut refuse = |reason: Reason| {
        if reason.nearness() > nearest.nearness() {
            nearest = reason;
        }
    };
    for bundle in bundles {
        let bundle = match Read::new(bundle) {
            Ok(bundle) => bundle,
            Err(reason) => {
                refuse(reason);
                continue;
            }
        };
        for signer in signers {
            let found = match &signer.by {
                Ok(By::Key { key, root }) => bundle.by_key(subject, key, root.as_deref()),
                Ok(By::Identity { identity, issuer, root }) => bundle.by_identity(subject, identity, issuer, root),
                Err(detail) => Err(Reason::Unready { detail: detail.clone() }),
            };
            match found {
                Ok(signer) => return Ok(Some(signer)),
                Err(reason) => refuse(reason),
            }
        }
    }
    // Of several that would do, all are told.
    if let Reason::WrongSigner { wanted: one, .. } = &mut nearest {
        *one = wanted;
    }
    Err(nearest)
}

/// That a manifest names a component among its layers: what is signed is the one, what runs is the other.
fn holds(manifest: &[u8], component: &[u8]) -> Result<(), Reason> {
    let here = super::digest_of(component);
    let manifest: Value = serde_json::from_slice(manifest).unwrap_or_default();
    let layers = manifest.get("layers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let named = layers.iter().any(|layer| layer.get("digest").and_then(Value::as_str) == Some(here.as_str()));
    if named { Ok(()) } else { Err(Reason::OtherComponent { here }) }
}
