//! A sigstore of our own: a certificate authority, a certificate log and a transparency log, as the public instance's are.

use crate::der::{bits, extension, octets, oid, sequence, set, time, tlv, utf8};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rota_packages::trust::{PREDICATE, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sigstore_crypto::KeyPair;

pub(crate) const IDENTITY: &str = "release@growth.example";
pub(crate) const ISSUER: &str = "https://accounts.example";

/// When the authority begins: 2026-01-01.
const BEGIN: i64 = 1_767_225_600;
/// When certificates begin, and for how long they are valid.
pub(crate) const FROM: i64 = BEGIN + 86_400;
pub(crate) const VALID: i64 = 600;

const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const CODE_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03];
const ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const FULCIO_ISSUER: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xbf, 0x30, 0x01, 0x08];
const SCTS: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xd6, 0x79, 0x02, 0x04, 0x02];

pub(crate) struct Sigstore {
    authority: KeyPair,
    certificates: KeyPair,
    log: KeyPair,
}

/// How a signature is made; by default as it should be.
pub(crate) struct Manner {
    pub(crate) identity: &'static str,
    pub(crate) issuer: &'static str,
    /// When the log took it, seconds after the certificate's begin.
    pub(crate) logged_after: i64,
    /// Whether the certificate log has the certificate.
    pub(crate) certificate_logged: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Self { identity: IDENTITY, issuer: ISSUER, logged_after: 5, certificate_logged: true }
    }
}

/// What is signed.
pub(crate) enum What<'a> {
    Component(&'a [u8]),
    Manifest(&'a [u8]),
}

impl Sigstore {
    pub(crate) fn new() -> Self {
        // Puts the cryptography in place that the keys below are made with.
        drop(SigningKey::generate(None).unwrap());
        let pair = || KeyPair::generate_ecdsa_p256().unwrap();
        Self { authority: pair(), certificates: pair(), log: pair() }
    }

    /// `trusted_root.json`.
    pub(crate) fn root(&self) -> Value {
        let start = "2026-01-01T00:00:00Z";
        let log = |key: &KeyPair| {
            json!({
                "baseUrl": "https://log.example", "hashAlgorithm": "SHA2_256",
                "publicKey": { "rawBytes": STANDARD.encode(spki(key)), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": { "start": start } },
                "logId": { "keyId": STANDARD.encode(Sha256::digest(spki(key))) },
            })
        };
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(&self.log)],
            "ctlogs": [log(&self.certificates)],
            "certificateAuthorities": [{
                "subject": { "organization": "example", "commonName": "example" },
                "uri": "https://fulcio.example",
                "certChain": { "certificates": [{ "rawBytes": STANDARD.encode(self.own()) }] },
                "validFor": { "start": start },
            }],
        })
    }

    /// The authority's own certificate.
    fn own(&self) -> Vec<u8> {
        let extensions = [
            extension(BASIC_CONSTRAINTS, true, &sequence(&[&[0x01, 0x01, 0xff]])),
            // keyCertSign, cRLSign
            extension(KEY_USAGE, true, &[0x03, 0x02, 0x01, 0x06]),
        ];
        let subject = name("fulcio.example");
        let tbs = tbs(
            1,
            &subject,
            (BEGIN, BEGIN + 10 * 365 * 86_400),
            &subject,
            &spki(&self.authority),
            &extensions.concat(),
        );
        certificate(&tbs, &self.authority)
    }

    /// A certificate for a key, as Fulcio gives it.
    fn issue(&self, key: &KeyPair, manner: &Manner) -> Vec<u8> {
        let alternative = sequence(&[&tlv(0x81, manner.identity.as_bytes())]);
        let mut extensions = [
            // digitalSignature
            extension(KEY_USAGE, true, &[0x03, 0x02, 0x07, 0x80]),
            extension(EXTENDED_KEY_USAGE, false, &sequence(&[&oid(CODE_SIGNING)])),
            extension(ALTERNATIVE_NAME, true, &alternative),
            extension(FULCIO_ISSUER, false, &utf8(manner.issuer)),
        ]
        .concat();
        let to_be_signed = |extensions: &[u8]| {
            tbs(7, &name("fulcio.example"), (FROM, FROM + VALID), &sequence(&[]), &spki(key), extensions)
        };
        if manner.certificate_logged {
            let timestamp = u64::try_from(FROM * 1000).unwrap().to_be_bytes();
            let precertificate = to_be_signed(&extensions);
            let length = u32::try_from(precertificate.len()).unwrap().to_be_bytes();
            // RFC 6962, 3.2: version, type, time, entry type, issuer's key, the certificate without this extension, no extensions.
            let signed = [
                &[0, 0][..],
                &timestamp,
                &[0, 1],
                &Sha256::digest(spki(&self.authority)),
                &length[1..],
                &precertificate,
                &[0, 0],
            ]
            .concat();
            let made = self.certificates.sign(&signed).unwrap();
            let made = made.as_bytes();
            let short = |length: usize| u16::try_from(length).unwrap().to_be_bytes();
            let one = [
                &[0][..],
                &Sha256::digest(spki(&self.certificates)),
                &timestamp,
                &[0, 0],
                &[4, 3],
                &short(made.len()),
                made,
            ]
            .concat();
            let list = [&short(one.len() + 2)[..], &short(one.len()), &one].concat();
            extensions.extend(extension(SCTS, false, &octets(&list)));
        }
        certificate(&to_be_signed(&extensions), &self.authority)
    }

    /// A bundle, as cosign writes it.
    pub(crate) fn sign(&self, what: &What<'_>, manner: &Manner) -> Value {
        let key = KeyPair::generate_ecdsa_p256().unwrap();
        let certificate = self.issue(&key, manner);
        let pem = STANDARD.encode(format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            STANDARD.encode(&certificate)
        ));
        let (field, content, kind, body) = match what {
            What::Component(component) => {
                let made = STANDARD.encode(key.sign(component).unwrap().as_bytes());
                let digest = Sha256::digest(component);
                let content = json!({ "messageDigest": { "algorithm": "SHA2_256", "digest": STANDARD.encode(digest) }, "signature": made });
                let spec = json!({
                    "data": { "hash": { "algorithm": "sha256", "value": hex::encode(digest) } },
                    "signature": { "content": made, "publicKey": { "content": pem } },
                });
                ("messageSignature", content, "hashedrekord", spec)
            }
            What::Manifest(manifest) => {
                let statement = json!({
                    "_type": "https://in-toto.io/Statement/v1",
                    "subject": [{ "digest": { "sha256": hex::encode(Sha256::digest(manifest)) } }],
                    "predicateType": PREDICATE,
                    "predicate": {},
                });
                let payload = serde_json::to_vec(&statement).unwrap();
                let kind = "application/vnd.in-toto+json";
                let made = STANDARD.encode(key.sign(&sigstore_types::pae(kind, &payload)).unwrap().as_bytes());
                let content = json!({ "payload": STANDARD.encode(&payload), "payloadType": kind, "signatures": [{ "sig": made }] });
                let hash = |bytes: &[u8]| json!({ "algorithm": "sha256", "value": hex::encode(Sha256::digest(bytes)) });
                let spec = json!({
                    "envelopeHash": hash(content.to_string().as_bytes()),
                    "payloadHash": hash(&payload),
                    "signatures": [{ "signature": made, "verifier": pem }],
                });
                ("dsseEnvelope", content, "dsse", spec)
            }
        };
        let body = json!({ "apiVersion": "0.0.1", "kind": kind, "spec": body }).to_string();
        json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": { "rawBytes": STANDARD.encode(&certificate) },
                "tlogEntries": [self.log(kind, &body, FROM + manner.logged_after)],
                "timestampVerificationData": { "rfc3161Timestamps": [] },
            },
            field: content,
        })
    }

    /// What the log says of an entry: the second of two.
    fn log(&self, kind: &str, body: &str, at: i64) -> Value {
        let (entry, other) = (leaf(body.as_bytes()), leaf(b"another entry"));
        let root = Sha256::new_with_prefix([1]).chain_update(other).chain_update(entry).finalize();
        let root = STANDARD.encode(root);
        let id = Sha256::digest(spki(&self.log));
        let note = format!("log.example - 1\n2\n{root}\n");
        let made = self.log.sign(note.as_bytes()).unwrap();
        let signature = STANDARD.encode([&id[..4], made.as_bytes()].concat());
        let body = STANDARD.encode(body);
        // Canonical: without spaces, in the order of the keys.
        let promise =
            format!(r#"{{"body":"{body}","integratedTime":{at},"logID":"{}","logIndex":1}}"#, hex::encode(id));
        json!({
            "logIndex": "1",
            "logId": { "keyId": STANDARD.encode(id) },
            "kindVersion": { "kind": kind, "version": "0.0.1" },
            "integratedTime": at.to_string(),
            "inclusionPromise": { "signedEntryTimestamp": STANDARD.encode(self.log.sign(promise.as_bytes()).unwrap().as_bytes()) },
            "inclusionProof": {
                "logIndex": "1", "rootHash": root, "treeSize": "2", "hashes": [STANDARD.encode(other)],
                "checkpoint": { "envelope": format!("{note}\n\u{2014} log.example {signature}\n") },
            },
            "canonicalizedBody": body,
        })
    }
}

fn leaf(body: &[u8]) -> [u8; 32] {
    Sha256::new_with_prefix([0]).chain_update(body).finalize().into()
}

fn spki(key: &KeyPair) -> Vec<u8> {
    key.public_key_der().unwrap().as_bytes().to_vec()
}

fn name(common: &str) -> Vec<u8> {
    sequence(&[&set(&sequence(&[&oid(COMMON_NAME), &utf8(common)]))])
}

fn tbs(serial: u8, issuer: &[u8], (from, until): (i64, i64), subject: &[u8], key: &[u8], extensions: &[u8]) -> Vec<u8> {
    sequence(&[
        &tlv(0xa0, &[0x02, 0x01, 0x02]),
        &[0x02, 0x01, serial],
        &sequence(&[&oid(ECDSA_SHA256)]),
        issuer,
        &sequence(&[&time(from), &time(until)]),
        subject,
        key,
        &tlv(0xa3, &tlv(0x30, extensions)),
    ])
}

fn certificate(tbs: &[u8], key: &KeyPair) -> Vec<u8> {
    let made = key.sign(tbs).unwrap();
    sequence(&[tbs, &sequence(&[&oid(ECDSA_SHA256)]), &bits(made.as_bytes())])
}
