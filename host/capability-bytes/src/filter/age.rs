//! age: encryption to public keys.

use super::damaged;
use crate::stage::{Input, Output};
use ::age::x25519;
use ::age::{DecryptError, Decryptor, Encryptor};
use rota_contract::Error;
use std::io::{self, Read, Write as _};

/// How many recipients a file may have. Each is tried by whoever decrypts.
const RECIPIENTS: usize = 100;

/// Whom a stream is encrypted to: at least one.
#[derive(Clone, Debug)]
pub struct Recipients(Vec<x25519::Recipient>);

impl Recipients {
    /// From their text, `age1...`.
    ///
    /// # Errors
    /// `invalid-argument` for none, too many, or one that is no public key of age. A secret key given by mistake is not repeated.
    pub fn parse(texts: &[String]) -> Result<Self, Error> {
        if texts.is_empty() {
            return Err(Error::InvalidArgument("no recipient: give at least one age1... public key".into()));
        }
        if texts.len() > RECIPIENTS {
            return Err(Error::InvalidArgument(format!(
                "{} recipients are too many; a stream may have {RECIPIENTS}",
                texts.len()
            )));
        }
        texts.iter().enumerate().map(|(index, text)| recipient(index + 1, text)).collect::<Result<_, _>>().map(Self)
    }
}

fn recipient(number: usize, text: &str) -> Result<x25519::Recipient, Error> {
    if text.to_ascii_uppercase().contains("AGE-SECRET-KEY-") {
        return Err(Error::InvalidArgument(format!(
            "recipient {number} is a secret key; give its public key (age-keygen -y), and make a new key pair if this one was seen by others"
        )));
    }
    text.parse().map_err(|reason| {
        Error::InvalidArgument(format!("recipient {number} is no public key of age (age1...): {reason}"))
    })
}

/// What a stream is decrypted with.
pub struct Identities(Vec<x25519::Identity>);

impl Identities {
    /// From the content of an identity file: `AGE-SECRET-KEY-1...` on a line each; empty lines and those with `#` are left out.
    ///
    /// # Errors
    /// `failed` when there is none or a line is something else. No line is repeated.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let lines =
            text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let identities = lines
            .map(|(index, line)| line.parse::<x25519::Identity>().map_err(|_| index + 1))
            .collect::<Result<Vec<_>, _>>();
        match identities {
            Ok(identities) if !identities.is_empty() => Ok(Self(identities)),
            Ok(_) => Err(Error::Unavailable("the key binding's identity is empty; it must hold an age secret key (AGE-SECRET-KEY-1...), as age-keygen writes it".into())),
            Err(line) => Err(Error::Unavailable(format!("line {line} of the key binding's identity is no age secret key (AGE-SECRET-KEY-1...), as age-keygen writes it"))),
        }
    }
}

pub(super) fn encrypt(input: &mut Input, output: &mut Output, recipients: &Recipients) -> io::Result<Option<String>> {
    let recipients = recipients.0.iter().map(|recipient| recipient as &dyn ::age::Recipient);
    let encryptor = Encryptor::with_recipients(recipients)
        .map_err(|error| damaged("encryption", format!("the stream cannot be encrypted: {error}")))?;
    let mut writer = encryptor.wrap_output(output)?;
    while let Some(chunk) = input.chunk()? {
        writer.write_all(&chunk)?;
        input.used(chunk);
    }
    writer.finish()?;
    Ok(None)
}

pub(super) fn decrypt(input: &mut Input, output: &mut Output, identities: &Identities) -> io::Result<Option<String>> {
    let decryptor = Decryptor::new_buffered(input).map_err(|error| refused(&error))?;
    let identities = identities.0.iter().map(|identity| identity as &dyn ::age::Identity);
    let reader = decryptor.decrypt(identities).map_err(|error| refused(&error))?;
    output.read_from(Checked(reader))?;
    Ok(None)
}

/// Why a file's head was refused.
fn refused(error: &DecryptError) -> io::Error {
    match error {
        DecryptError::NoMatchingKeys => damaged(
            "no-matching-key",
            "the data is encrypted to other recipients than the key in this slot; bind the key that fits one of them",
        ),
        DecryptError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => cut(),
        DecryptError::Io(error) => damaged("damaged", format!("the data is no age file in its binary form ({error})")),
        other => damaged(
            "damaged",
            format!("the age file's head is damaged, or it is no age file in its binary form ({other})"),
        ),
    }
}

fn cut() -> io::Error {
    damaged("truncated", "the age file ends before its last part: it was cut when it was written or stored")
}

/// Says what an error of the payload means.
struct Checked<R>(R);

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => cut(),
            _ => damaged("damaged", format!("the age file is damaged, or cut between two of its parts ({error})")),
        })
    }
}
