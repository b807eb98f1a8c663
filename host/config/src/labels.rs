//! Labels: what a worker says of itself, a job asks of its worker, and a run carries.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::LabelName;
use crate::decode::{Decode, Reader};
use crate::redact::quoted;
use crate::tree::Node;

/// Labels by name.
pub type Labels = BTreeMap<LabelName, LabelValue>;

/// The most characters of a label's value.
const LONGEST: usize = 63;

/// What a label says: some text on one line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct LabelValue(String);

/// Why a text is no value of a label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} cannot be a label's value: it must be 1 to 63 characters on one line")]
pub struct LabelError(String);

impl LabelValue {
    /// The value as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LabelValue {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        let text = text.trim();
        let one = !text.is_empty() && text.chars().count() <= LONGEST && rota_telemetry::clean_line(text) == text;
        if one { Ok(Self(text.to_owned())) } else { Err(LabelError(quoted(text))) }
    }
}

impl fmt::Display for LabelValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Decode for LabelValue {
    const WANTED: &'static str = "a label's value (1 to 63 characters)";

    fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
        let text = reader.text(at, &node, Self::WANTED)?;
        reader.parsed(at, &node.origin, text.parse())
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": LONGEST, "examples": ["eu-1"] })
    }
}

/// Whether a worker with the labels `has` is one that `wanted` asks for: each of those must be there with the same value.
pub fn matches(wanted: &Labels, has: &Labels) -> bool {
    wanted.iter().all(|(name, value)| has.get(name) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_worker_needs_every_label_that_is_asked_for() {
        let has = labels(&[("zone", "a"), ("disk", "fast")]);
        assert!(matches(&labels(&[]), &has) && matches(&labels(&[("zone", "a")]), &has) && matches(&has, &has));
        assert!(!matches(&labels(&[("zone", "b")]), &has) && !matches(&labels(&[("rack", "1")]), &has));
        assert!(!matches(&has, &labels(&[])));
    }

    #[test]
    fn a_value_is_some_text_on_one_line() {
        assert_eq!(" eu-1 ".parse::<LabelValue>().unwrap().as_str(), "eu-1");
        for wrong in ["", "  ", "a\nb", "\u{1b}[31m", &"x".repeat(64)] {
            assert!(wrong.parse::<LabelValue>().unwrap_err().to_string().contains("1 to 63 characters"), "{wrong:?}");
        }
    }
}
