//! Statements that cannot be pasted together from data.

use crate::{Error, Result};
use std::borrow::Cow;
use std::fmt;

/// A statement. It is made from a literal, or by [`sql!`](crate::sql!) from a literal and parts that are safe: so a string
/// that came from outside never becomes a piece of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sql(Cow<'static, str>);

impl Sql {
    /// A statement from text that the operator wrote, such as a filter given as a parameter. Say in the parameter's
    /// description that it is SQL. The host classifies it like any other.
    pub fn from_operator(text: impl Into<String>) -> Self {
        Self(Cow::Owned(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn into_string(self) -> String {
        self.0.into_owned()
    }

    /// For [`sql!`](crate::sql!): the template with each `{}` replaced by a part.
    #[doc(hidden)]
    pub fn build(template: &'static str, parts: &[&dyn SqlPart]) -> Self {
        let mut text = String::with_capacity(template.len() + 32 * parts.len());
        let mut pieces = template.split("{}");
        text.push_str(pieces.next().unwrap_or_default());
        for (piece, part) in pieces.zip(parts) {
            part.write(&mut text);
            text.push_str(piece);
        }
        Self(Cow::Owned(text))
    }
}

impl From<&'static str> for Sql {
    fn from(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

/// What a session takes for a statement: a literal, or what [`sql!`](crate::sql!) built.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a statement",
    label = "text made at run time could carry somebody else's SQL",
    note = "write the statement as a literal, bind values with `params![...]` and `$1`, and put quoted names in with `sql!(\"VACUUM {{}}\", name)`"
)]
pub trait IntoSql {
    /// As a statement.
    fn into_sql(self) -> Sql;
}

impl IntoSql for Sql {
    fn into_sql(self) -> Sql {
        self
    }
}

impl IntoSql for &'static str {
    fn into_sql(self) -> Sql {
        self.into()
    }
}

impl fmt::Display for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How many `{}` a template has.
#[doc(hidden)]
pub const fn placeholders(template: &str) -> usize {
    let bytes = template.as_bytes();
    let (mut at, mut count) = (0, 0);
    while at + 1 < bytes.len() {
        if bytes[at] == b'{' && bytes[at + 1] == b'}' {
            count += 1;
            at += 1;
        }
        at += 1;
    }
    count
}

/// What may stand for a `{}` in [`sql!`](crate::sql!).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a part of a statement",
    label = "not safe to put into SQL",
    note = "bind values with `params![...]` and `$1`; quote names with `session.quote_name(...)`, which gives a `Quoted`"
)]
pub trait SqlPart {
    /// Write it.
    #[doc(hidden)]
    fn write(&self, text: &mut String);
}

impl SqlPart for Quoted {
    fn write(&self, text: &mut String) {
        text.push_str(&self.0);
    }
}

impl SqlPart for Sql {
    fn write(&self, text: &mut String) {
        text.push_str(&self.0);
    }
}

macro_rules! numbers {
    ($($type:ty)+) => { $(
        impl SqlPart for $type {
            fn write(&self, text: &mut String) {
                text.push_str(&self.to_string());
            }
        }
    )+ };
}
numbers!(i16 i32 i64 u16 u32 u64 usize);

impl SqlPart for bool {
    fn write(&self, text: &mut String) {
        text.push_str(if *self { "true" } else { "false" });
    }
}

impl<T: SqlPart> SqlPart for &T {
    fn write(&self, text: &mut String) {
        (*self).write(text);
    }
}

/// A statement from a literal with `{}` for each part: `sql!("VACUUM (ANALYZE) {}", table)`. Parts are [`Quoted`] names, numbers, flags
/// and other statements; strings are refused when the plugin is compiled.
#[macro_export]
macro_rules! sql {
    ($template:literal $(, $part:expr)* $(,)?) => {{
        const _: () = ::core::assert!(
            $crate::__private::placeholders($template) == <[&str]>::len(&[$(::core::stringify!($part)),*]),
            "sql!: the statement needs exactly one part for each pair of braces"
        );
        $crate::sql::Sql::build($template, &[$(&$part as &dyn $crate::sql::SqlPart),*])
    }};
}

/// A name as the server quoted it: `public.orders`, `"Odd ""name"""."x%y"`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quoted(String);

impl Quoted {
    /// A name that the server quoted with `format('%I')` or `quote_ident`. Whatever the text's origin, only names joined by
    /// points pass: nothing that ends a name and begins something else.
    ///
    /// # Errors
    /// When the text is anything but quoted names.
    pub fn from_server(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        if is_name(&text) { Ok(Self(text)) } else { Err(Error::new(format!("{text:?} is not a quoted name"))) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether the text is one or more names joined by points, each in quotes or plain.
fn is_name(text: &str) -> bool {
    let mut rest = text;
    loop {
        let Some(after) = skip_name(rest) else { return false };
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None => return after.is_empty(),
        }
    }
}

/// What follows the name at the beginning of the text.
fn skip_name(text: &str) -> Option<&str> {
    if let Some(mut inside) = text.strip_prefix('"') {
        if inside.starts_with('"') && !inside.starts_with("\"\"") {
            return None;
        }
        loop {
            let end = inside.find('"')?;
            if inside[..end].contains('\0') {
                return None;
            }
            match inside[end + 1..].strip_prefix('"') {
                Some(more) => inside = more,
                None => return Some(&inside[end + 1..]),
            }
        }
    }
    let length = text.bytes().take_while(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_')).count();
    (length > 0 && !text.as_bytes()[0].is_ascii_digit()).then(|| &text[length..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_are_quoted() {
        for good in [
            "orders",
            "public.orders",
            "\"Orders\"",
            "\"a\"\"b\".c",
            "\"line\nbreak\"",
            "\"100%\"",
            "\"\u{1f980}\"",
            "\"\"\"\"",
            "\"a.b\".\"c d\"",
        ] {
            assert!(Quoted::from_server(good).is_ok(), "{good}");
        }
        for bad in [
            "", "Orders", "a b", "a;drop", "a.", ".a", "\"a", "a\"", "\"a\"b", "\"\"", "1a", "a--", "\"a\" ", "a(b)",
            "\"\".x", "\"a\0b\"",
        ] {
            assert!(Quoted::from_server(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn builds_from_safe_parts() {
        let table = Quoted::from_server("public.\"a%{}b\"").unwrap();
        assert_eq!(
            crate::sql!("VACUUM (ANALYZE, PARALLEL {}) {}", 2, table).as_str(),
            "VACUUM (ANALYZE, PARALLEL 2) public.\"a%{}b\""
        );
        assert_eq!(crate::sql!("SELECT 1").as_str(), "SELECT 1");
    }
}
