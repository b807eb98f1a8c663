//! The policy as packages ask it.

use super::{Policy, Subject};
use crate::Judge;

impl Judge for Policy {
    fn judge(&self, name: &str, subject: &Subject<'_>, bundles: &[Vec<u8>]) -> Result<Option<String>, String> {
        match self.check(name, subject, bundles) {
            // Without the time: the same signer signs each version at another.
            Ok(signer) => Ok(signer.map(|signer| signer.who.to_string())),
            Err(untrusted) => Err(format!("{} ([trust.\"{}\"] is for it)", untrusted.reason, untrusted.namespace)),
        }
    }
}
