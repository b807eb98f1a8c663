//! Private keys as cosign keeps them: scrypt makes a key of the password, NaCl's secretbox opens the bytes with it.

use super::key::KeyError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_secretbox::aead::{Aead as _, KeyInit as _};
use crypto_secretbox::{Key, Nonce, XSalsa20Poly1305};
use ring::rand::{SecureRandom as _, SystemRandom};
use rota_telemetry::Secret;
use serde::{Deserialize, Serialize};

/// The most memory that a key may ask for to be opened, bytes: cosign's ask for 64 MiB.
const MOST_MEMORY: u64 = 256 << 20;
/// The most bytes of what is sealed; a P-256 key has 138.
const LONGEST: usize = 16 << 10;

#[derive(Serialize, Deserialize)]
struct Sealed {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Serialize, Deserialize)]
struct Kdf {
    name: String,
    params: Params,
    salt: String,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Params {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Serialize, Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

/// Those of cosign.
const PARAMS: Params = Params { n: 65_536, r: 8, p: 1 };

/// What is sealed.
///
/// # Errors
/// [`KeyError::WrongPassword`] for another password or bytes that were changed; [`KeyError::Sealed`] for what is not sealed so.
pub(super) fn open(bytes: &[u8], password: &Secret) -> Result<Vec<u8>, KeyError> {
    if bytes.len() > LONGEST {
        return Err(KeyError::Sealed("it is too large"));
    }
    let sealed: Sealed =
        serde_json::from_slice(bytes).map_err(|_| KeyError::Sealed("it is not as cosign writes it"))?;
    if sealed.kdf.name != "scrypt" || sealed.cipher.name != "nacl/secretbox" {
        return Err(KeyError::Sealed("it is neither of scrypt nor of nacl/secretbox"));
    }
    let decode = |text: &str| STANDARD.decode(text).map_err(|_| KeyError::Sealed("a part of it is not base64"));
    let (salt, nonce, text) = (decode(&sealed.kdf.salt)?, decode(&sealed.cipher.nonce)?, decode(&sealed.ciphertext)?);
    let nonce: [u8; 24] = nonce.try_into().map_err(|_| KeyError::Sealed("its nonce has not 24 bytes"))?;
    let key = key(password, &salt, sealed.kdf.params)?;
    XSalsa20Poly1305::new(&key).decrypt(&Nonce::from(nonce), text.as_slice()).map_err(|_| KeyError::WrongPassword)
}

/// Seals bytes, so that cosign can open them too.
///
/// # Errors
/// When the system gives no randomness.
pub(super) fn seal(bytes: &[u8], password: &Secret) -> Result<Vec<u8>, KeyError> {
    let (mut salt, mut nonce) = ([0; 32], [0; 24]);
    let random = SystemRandom::new();
    let none = || KeyError::System("the system gives no randomness".to_owned());
    random.fill(&mut salt).map_err(|_| none())?;
    random.fill(&mut nonce).map_err(|_| none())?;
    let key = key(password, &salt, PARAMS)?;
    let text = XSalsa20Poly1305::new(&key).encrypt(&Nonce::from(nonce), bytes);
    let sealed = Sealed {
        kdf: Kdf { name: "scrypt".to_owned(), params: PARAMS, salt: STANDARD.encode(salt) },
        cipher: Cipher { name: "nacl/secretbox".to_owned(), nonce: STANDARD.encode(nonce) },
        ciphertext: STANDARD.encode(text.map_err(|_| KeyError::Sealed("it is too large"))?),
    };
    serde_json::to_vec(&sealed).map_err(|error| KeyError::System(error.to_string()))
}

fn key(password: &Secret, salt: &[u8], params: Params) -> Result<Key, KeyError> {
    let Params { n, r, p } = params;
    let memory = n.checked_mul(u64::from(r)).and_then(|blocks| blocks.checked_mul(128));
    // Whoever made the file chose them: they bound memory, and time.
    if !n.is_power_of_two() || n < 2 || memory.is_none_or(|memory| memory > MOST_MEMORY) || p > 4 {
        return Err(KeyError::Sealed("its scrypt parameters are beyond 256 MiB of memory or 4 passes"));
    }
    let params = u8::try_from(n.trailing_zeros()).ok().and_then(|log| scrypt::Params::new(log, r, p, 32).ok());
    let params = params.ok_or(KeyError::Sealed("its scrypt parameters are not valid"))?;
    let mut key = Key::default();
    scrypt::scrypt(password.expose().as_bytes(), salt, &params, &mut key)
        .map_err(|_| KeyError::Sealed("its scrypt parameters are not valid"))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_cannot_ask_for_any_amount_of_memory() {
        let with = |n: u64, r: u32, p: u32| {
            let text = serde_json::json!({
                "kdf": { "name": "scrypt", "params": { "N": n, "r": r, "p": p }, "salt": "AAAA" },
                "cipher": { "name": "nacl/secretbox", "nonce": STANDARD.encode([0; 24]) },
                "ciphertext": "AAAA",
            });
            open(text.to_string().as_bytes(), &Secret::new("password")).unwrap_err()
        };
        for (n, r, p) in [
            (1 << 40, 8, 1),
            (u64::MAX, 8, 1),
            (65_536, u32::MAX, 1),
            (65_536, 8, 5),
            (65_537, 8, 1),
            (0, 8, 1),
            (1, 8, 1),
        ] {
            assert!(matches!(with(n, r, p), KeyError::Sealed(_)), "{n} {r} {p}");
        }
        assert_eq!(with(2, 1, 1), KeyError::WrongPassword);
    }
}
