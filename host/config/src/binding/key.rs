//! Bindings to age identities.

use crate::SecretRef;
use crate::section::record;

record! {
    /// An age identity: what decrypts backups. It never leaves the host.
    pub struct KeyBinding {
        /// The identity (AGE-SECRET-KEY-1...), one or more lines, as age-keygen writes them.
        pub identity: SecretRef;
        /// The most runs that hold it at once, on all hosts together; without it, as many as there are.
        pub concurrency: Option<u32> = None, within(1, 1_000);
    }
}
