//! What a store or a file system said, as the guest and the operator read it: what happened, to what, and what to do. Never a
//! URL of a request, a header or a key: an error of OpenDAL carries them in its context, which is not read here.

use crate::name::Name;
use crate::remote::http::Broken;
use opendal::ErrorKind;
use rota_contract::{Error, Fault};
use rota_telemetry::{clean_line, mask};
use rustix::io::Errno;
use std::error::Error as _;
use std::io;

/// Where something happened, in words that may be shown.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The binding's name.
    pub(crate) binding: String,
    /// `s3://bucket/prefix (http://127.0.0.1:9000)`, or a folder's path.
    pub(crate) address: String,
}

impl Place {
    fn of(&self, name: Option<&Name>) -> String {
        match name {
            Some(name) => format!("`{name}` in binding `{}` ({})", self.binding, self.address),
            None => format!("binding `{}` ({})", self.binding, self.address),
        }
    }

    /// The object is not there.
    pub(crate) fn missing(&self, name: &Name) -> Error {
        Error::NotFound(format!("there is no object {}", self.of(Some(name))))
    }

    /// The object is there already.
    pub(crate) fn taken(&self, name: &Name) -> Error {
        Error::Conflict(format!(
            "there is already an object {}, and it was to be stored only if absent",
            self.of(Some(name))
        ))
    }

    /// The bytes are not the ones that were promised.
    pub(crate) fn wrong_sum(&self, name: &Name, wanted: &str, found: &str) -> Error {
        let message = format!(
            "the bytes for {} have the SHA-256 {found}, not {wanted} as was said; nothing was kept",
            self.of(Some(name))
        );
        fault("checksum-mismatch", message, None, false)
    }

    /// The store sent less than it said that it has.
    pub(crate) fn cut_short(&self, name: &Name, expected: u64, got: u64) -> Error {
        fault(
            "short-read",
            format!("{}: the store sent {got} of {expected} bytes and ended; try again", self.of(Some(name))),
            None,
            true,
        )
    }

    /// More than a store takes as one object.
    pub(crate) fn too_large(&self, name: &Name) -> Error {
        fault(
            "EntityTooLarge",
            format!("{} needs more than 10,000 parts, which no store takes; nothing was kept", self.of(Some(name))),
            None,
            false,
        )
    }

    /// What a store answered.
    pub(crate) fn remote(&self, name: Option<&Name>, error: &opendal::Error) -> Error {
        if error.message() == UNSIGNED {
            let message = format!(
                "there are no keys to sign requests to {} with; set `access_key` and `secret_key` of [bindings.{}]",
                self.of(None),
                self.binding
            );
            return fault("no-credentials", message, None, false);
        }
        if let Some(broken) = broken(error) {
            return self.unreachable(broken);
        }
        let code = quoted_field(error.message(), "code").unwrap_or_default();
        let bucket = || format!("check `url`, `endpoint` and `region` of [bindings.{}]", self.binding);
        let (kind, advice) = match code.as_str() {
            "NoSuchBucket" | "ContainerNotFound" | "NoSuchContainer" => {
                return Error::NotFound(format!(
                    "the bucket of {} does not exist; create it, or {}",
                    self.of(None),
                    bucket()
                ));
            }
            "SignatureDoesNotMatch"
            | "InvalidAccessKeyId"
            | "AuthenticationFailed"
            | "InvalidToken"
            | "ExpiredToken"
            | "InvalidSecurityToken" => (
                "does not accept the keys",
                format!("check `access_key` and `secret_key` of [bindings.{}]", self.binding),
            ),
            "RequestTimeTooSkewed" => ("finds this machine's clock wrong", "set the clock".to_owned()),
            "AuthorizationHeaderMalformed" | "PermanentRedirect" | "InvalidBucketName" => {
                ("does not have the bucket at this address", bucket())
            }
            _ => match error.kind() {
                ErrorKind::NotFound => {
                    return name.map_or_else(
                        || Error::NotFound(format!("{} was not found; {}", self.of(None), bucket())),
                        |name| self.missing(name),
                    );
                }
                ErrorKind::ConditionNotMatch | ErrorKind::AlreadyExists if name.is_some() => {
                    return name.map_or(Error::Cancelled, |name| self.taken(name));
                }
                ErrorKind::Conflict => {
                    return Error::Conflict(format!("something else is changing {}; try again", self.of(name)));
                }
                ErrorKind::PermissionDenied => (
                    "refuses access",
                    format!(
                        "give the keys of [bindings.{}] the right to do this on the bucket and its prefix, or check the keys",
                        self.binding
                    ),
                ),
                ErrorKind::RateLimited => ("asks to be called less often", "try again later".to_owned()),
                ErrorKind::ConfigInvalid => ("cannot be used as it is configured", bucket()),
                _ => ("answered with an error", "see the code".to_owned()),
            },
        };
        let shown = if code.is_empty() { <&str>::from(error.kind()).to_owned() } else { clean(&code) };
        let said = quoted_field(error.message(), "message")
            .or_else(|| is_prose(error.message()).then(|| error.message().to_owned()));
        let retryable = error.is_temporary() || error.is_persistent() || error.kind() == ErrorKind::RateLimited;
        fault(
            &shown,
            format!("the store of {} {kind} ({shown}); {advice}", self.of(name)),
            said.map(|said| clean(&said)),
            retryable,
        )
    }

    fn unreachable(&self, broken: &Broken) -> Error {
        match broken {
            Broken::TimedOut(after) => Error::TimedOut(format!(
                "the store of {} did not answer within {} s; try again, or look at the network and the store",
                self.of(None),
                after.as_secs()
            )),
            Broken::Connect(why) => Error::Unavailable(format!(
                "the store of {} cannot be reached ({}); check `endpoint` of [bindings.{}], the network and whether the store runs",
                self.of(None),
                clean(why),
                self.binding
            )),
            Broken::Cut(why) => Error::Unavailable(format!(
                "the connection to the store of {} broke ({}); try again",
                self.of(None),
                clean(why)
            )),
        }
    }

    /// What the file system answered.
    pub(crate) fn folder(&self, name: Option<&Name>, error: &io::Error) -> Error {
        let errno = Errno::from_io_error(error);
        let at = self.of(name);
        let refused = |advice: &str| {
            fault(errno_name(errno), format!("{at}: {}; {advice}", clean(&error.to_string())), None, false)
        };
        match errno {
            Some(Errno::NOENT) => match name {
                Some(name) => self.missing(name),
                None => Error::NotFound(format!(
                    "the folder of {at} does not exist; make it (`mkdir -p`), or mount what should be there"
                )),
            },
            Some(Errno::EXIST) if let Some(name) = name => self.taken(name),
            Some(Errno::XDEV | Errno::LOOP) => Error::InvalidArgument(format!(
                "{at}: a symbolic link on the way leads out of the binding's folder; remove the link"
            )),
            Some(Errno::NAMETOOLONG) => Error::InvalidArgument(format!(
                "{at}: a part of the name is longer than this file system takes (255 bytes)"
            )),
            Some(Errno::NOTDIR) => Error::InvalidArgument(format!(
                "{at}: a part of the name before its last `/` is an object, not a folder"
            )),
            Some(Errno::ISDIR) => Error::InvalidArgument(format!("{at} is a folder, not an object")),
            Some(Errno::NOSPC | Errno::DQUOT) => {
                refused("free some space (or raise the quota); nothing was kept of this object")
            }
            Some(Errno::ROFS) => refused("it is mounted read-only: mount it writable, or bind another folder"),
            Some(Errno::ACCESS | Errno::PERM) => refused("give the user that rota runs as access to the folder"),
            _ => refused("look at the disk and the system's log"),
        }
    }
}

/// What OpenDAL says when it finds no keys.
pub(crate) const UNSIGNED: &str = "signing http request";

/// What went wrong on the way, when it did not come from the store.
fn broken(error: &opendal::Error) -> Option<&Broken> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(broken) = error.downcast_ref::<Broken>() {
            return Some(broken);
        }
        source = error.source();
    }
    None
}

fn fault(code: &str, message: String, detail: Option<String>, retryable: bool) -> Error {
    Error::Failed(Fault { code: code.to_owned(), message: mask(&message).into_owned(), detail, retryable })
}

/// A store's text: masked, one line, bounded.
fn clean(text: &str) -> String {
    let line = clean_line(text);
    line.chars().take(500).collect()
}

/// Text for people, not a page of markup or a struct.
fn is_prose(text: &str) -> bool {
    !text.trim().is_empty() && !text.contains('<') && !text.contains('{')
}

/// The value of `field: "..."` in a printed error of a store (OpenDAL hands on what it parsed in no other form).
fn quoted_field(message: &str, field: &str) -> Option<String> {
    let start = message.find(&format!("{field}: \""))? + field.len() + 3;
    let mut value = String::new();
    let mut characters = message.get(start..)?.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => return (!value.is_empty()).then_some(value),
            '\\' => value.extend(characters.next()),
            c => value.push(c),
        }
    }
    None
}

fn errno_name(errno: Option<Errno>) -> &'static str {
    match errno {
        Some(Errno::NOSPC) => "ENOSPC",
        Some(Errno::DQUOT) => "EDQUOT",
        Some(Errno::ROFS) => "EROFS",
        Some(Errno::ACCESS) => "EACCES",
        Some(Errno::PERM) => "EPERM",
        Some(Errno::IO) => "EIO",
        _ => "io",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rota_telemetry::Secret;

    fn place() -> Place {
        Place { binding: "offsite".into(), address: "s3://backups/pg".into() }
    }

    fn message(error: &Error) -> String {
        format!("{error:?}")
    }

    #[test]
    fn stores_errors_say_what_to_do() {
        let name = Name::parse("a/b").unwrap();
        for (kind, text, expected) in [
            (
                ErrorKind::ConfigInvalid,
                r#"S3Error { code: "NoSuchBucket", message: "x" }"#,
                "does not exist; create it",
            ),
            (
                ErrorKind::PermissionDenied,
                r#"S3Error { code: "SignatureDoesNotMatch", message: "x" }"#,
                "check `access_key` and `secret_key` of [bindings.offsite]",
            ),
            (ErrorKind::PermissionDenied, "", "refuses access"),
            (ErrorKind::ConditionNotMatch, "", "already an object `a/b`"),
            (ErrorKind::NotFound, "", "no object `a/b` in binding `offsite`"),
        ] {
            let said = message(&place().remote(Some(&name), &opendal::Error::new(kind, text)));
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn neither_context_nor_secrets_come_through() {
        let _secret = Secret::new("c4nary-of-errors");
        let error = opendal::Error::new(
            ErrorKind::Unexpected,
            r#"S3Error { code: "Odd", message: "key c4nary-of-errors\n\u{1b}[2J" }"#,
        )
        .with_context("uri", "https://h/x?X-Amz-Signature=abcdef");
        let said = message(&place().remote(None, &error));
        assert!(
            said.contains("***") && !said.contains("c4nary") && !said.contains("Amz") && !said.contains('\u{1b}'),
            "{said}"
        );
    }

    #[test]
    fn file_system_errors_say_what_to_do() {
        let name = Name::parse("a").unwrap();
        for (errno, expected) in [
            (Errno::NOSPC, "free some space"),
            (Errno::ROFS, "mounted read-only"),
            (Errno::XDEV, "leads out"),
            (Errno::EXIST, "already an object"),
        ] {
            let said = message(&place().folder(Some(&name), &errno.into()));
            assert!(said.contains(expected), "{said}");
        }
    }
}
