//! Bindings to age identities.

use crate::SecretRef;
use crate::section::record;

record! {
    /// An age identity: what decrypts backups. It never leaves the host.
    pub struct KeyBinding {
        /// The identity (AGE-SECRET-KEY-1...), one or more lines, as age-keygen writes them.
        pub identity: SecretRef;
    }
}
