//! How an object is to be put: the guest's options, checked.

use crate::wit::PutOptions;
use rota_contract::Error;

/// How to put, checked.
#[derive(Clone, Debug, Default)]
pub struct Put {
    /// Only where the name is free.
    pub if_absent: bool,
    /// About how many bytes.
    pub estimate: Option<u64>,
    /// The media type.
    pub media_type: Option<String>,
    /// The SHA-256 that the bytes must have, lower-case hex.
    pub sha256: Option<String>,
}

impl Put {
    /// Check a guest's options.
    ///
    /// # Errors
    /// When the media type or the sum has another form.
    pub fn check(options: PutOptions) -> Result<Self, Error> {
        let PutOptions { if_absent, size_estimate, media_type, sha256 } = options;
        if sha256
            .as_ref()
            .is_some_and(|sum| sum.len() != 64 || !sum.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
        {
            return Err(Error::InvalidArgument("put-options.sha256 is not 64 lower-case hexadecimal digits".into()));
        }
        if media_type.as_ref().is_some_and(|media| !is_media_type(media)) {
            return Err(Error::InvalidArgument(
                "put-options.media-type is not of the form `type/subtype`, at most 255 ASCII characters".into(),
            ));
        }
        Ok(Self { if_absent, estimate: size_estimate, media_type, sha256 })
    }

    /// What a person needs to judge the effect.
    pub fn describe(&self) -> String {
        let size =
            self.estimate.map_or_else(|| "size unknown".to_owned(), |bytes| format!("about {}", readable(bytes)));
        let when = if self.if_absent { "only if absent" } else { "replaces what is there" };
        let media = self.media_type.as_ref().map(|media| format!(", {media}")).unwrap_or_default();
        let sum = self.sha256.as_ref().map(|sum| format!(", sha256 {sum}")).unwrap_or_default();
        format!("{size}, {when}{media}{sum}")
    }
}

/// It becomes a header: visible ASCII and spaces only.
fn is_media_type(text: &str) -> bool {
    let (kind, rest) = text.split_once('/').unwrap_or_default();
    let token =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b));
    let subtype = rest.split(';').next().unwrap_or_default();
    text.len() <= 255 && token(kind) && token(subtype.trim_end()) && rest.bytes().all(|b| (0x20..0x7f).contains(&b))
}

/// A size for people.
pub(crate) fn readable(bytes: u64) -> String {
    let units = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_checked() {
        let options = |media: Option<&str>, sum: Option<&str>| PutOptions {
            if_absent: true,
            size_estimate: Some(12_300_000),
            media_type: media.map(Into::into),
            sha256: sum.map(Into::into),
        };
        let sum = "0123456789abcdef".repeat(4);
        let put = Put::check(options(Some("application/zstd; level=3"), Some(&sum))).unwrap();
        assert_eq!(put.describe(), format!("about 12.3 MB, only if absent, application/zstd; level=3, sha256 {sum}"));
        for (media, sum) in [
            (Some("a/b\r\nx-evil: 1"), None),
            (Some("plain"), None),
            (Some("a/"), None),
            (None, Some("ABC")),
            (None, Some(&*sum.to_uppercase())),
        ] {
            assert!(Put::check(options(media, sum)).is_err());
        }
    }

    #[test]
    fn sizes_are_readable() {
        assert_eq!(
            [0, 999, 1000, 999_949, 999_999, 2_000_000_000_000].map(readable),
            ["0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "2.0 TB"]
        );
    }
}
