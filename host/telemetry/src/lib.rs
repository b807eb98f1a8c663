//! What leaves the host as text, and what must not: secrets and their masking, the log, and the
//! notices of a server that a run asked for.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`Secret`] | a value that prints as `***`, and that the masker knows from the moment it exists |
//! | [`mask`], [`StreamMasker`] | finds every known secret in a text or a stream, in the spellings that tools give it |
//! | [`sanitize_line`], [`clean_line`] | takes out of a line whatever could steer a terminal or forge another line |
//! | [`init`] | the log: filtered by `ROTA_LOG`, masked and sanitized line by line |
//! | [`capture_notices`] | a PostgreSQL server's notices, delivered to the run that caused them and never to the log |
//!
//! Metrics, OTLP and the audit chain join this crate with the issues that bring them.

mod capture;
mod log;
mod mask;
mod notice;
mod sanitize;
mod secret;

pub use capture::{BoundedCapture, Captured, StreamMasker};
pub use log::{InitError, LogFormat, init, install_panic_hook, stderr, subscriber};
pub use mask::{MASK, Masker, mask, mask_bytes};
pub use notice::{
    NOTICE_TARGET, Notice, NoticeReceiver, NoticeSender, NoticeSeverity, capture_notices, notice_channel, notice_layer,
    with_notices,
};
pub use sanitize::{clean_line, sanitize_line, sanitize_text};
pub use secret::Secret;
