//! One definition for all that a section of the configuration is: a type, how it is read, its
//! defaults and bounds, and its JSON Schema, whose descriptions are the doc comments.

/// Defines a table of the configuration. A key without default must be there.
///
/// ```text
/// record! {
///     /// What it is for.
///     pub struct Retries {
///         /// How often.
///         pub limit: u32 = 0, within(0, 100);
///         /// A key that must be there.
///         pub plugin: PluginRef;
///     }
/// }
/// ```
macro_rules! record {
    (
        $(#[doc = $about:literal])*
        pub struct $name:ident {
            $(
                $(#[doc = $doc:literal])*
                pub $field:ident : $type:ty $(= $default:expr)? $(, within($least:expr, $most:expr))?;
            )*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize)]
        pub struct $name {
            $(
                $(#[doc = $doc])*
                pub $field: $type,
            )*
        }

        impl $crate::decode::Decode for $name {
            const WANTED: &'static str = "a table";

            fn decode(reader: &$crate::decode::Reader, at: &str, node: $crate::tree::Node) -> Option<Self> {
                let mut fields = reader.fields(at, node)?;
                let read = Self::decode_fields(&mut fields);
                fields.finish();
                read
            }

            fn schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                generator.subschema_for::<Self>()
            }
        }

        impl $name {
            /// Reads the keys of this table, and leaves others in it.
            pub(crate) fn decode_fields(fields: &mut $crate::decode::Fields<'_>) -> Option<Self> {
                $(let $field: Option<$type> = $crate::section::record!(
                    @read fields, stringify!($field), [$($default)?] [$($least, $most)?]);)*
                Some(Self { $($field: $field?),* })
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let mut object = $crate::schema::Object::new(&[$($about),*]);
                $(
                    let schema = <$type as $crate::decode::Decode>::schema(generator);
                    $crate::section::record!(
                        @describe object, stringify!($field), schema, &[$($doc),*], $type, [$($default)?] [$($least, $most)?]);
                )*
                object.into_schema()
            }
        }
    };

    (@read $fields:ident, $key:expr, [] []) => { $fields.required($key) };
    (@read $fields:ident, $key:expr, [] [$least:expr, $most:expr]) => { $fields.required_within($key, $least, $most) };
    (@read $fields:ident, $key:expr, [$default:expr] []) => { $fields.or($key, $default) };
    (@read $fields:ident, $key:expr, [$default:expr] [$least:expr, $most:expr]) => {
        $fields.within($key, $default, $least, $most)
    };

    (@describe $object:ident, $key:expr, $schema:ident, $doc:expr, $type:ty, [] []) => {
        $object.required($key, $schema, $doc, None)
    };
    (@describe $object:ident, $key:expr, $schema:ident, $doc:expr, $type:ty, [] [$least:expr, $most:expr]) => {
        $object.required($key, $schema, $doc, Some((&$least, &$most)))
    };
    (@describe $object:ident, $key:expr, $schema:ident, $doc:expr, $type:ty, [$default:expr] []) => {{
        let default: $type = $default;
        $object.optional($key, $schema, $doc, &default, None);
    }};
    (@describe $object:ident, $key:expr, $schema:ident, $doc:expr, $type:ty, [$default:expr] [$least:expr, $most:expr]) => {{
        let default: $type = $default;
        $object.optional($key, $schema, $doc, &default, Some((&$least, &$most)));
    }};
}

/// A [`record!`] in which every key has a default, so that the whole has one too.
macro_rules! section {
    (
        $(#[doc = $about:literal])*
        pub struct $name:ident {
            $(
                $(#[doc = $doc:literal])*
                pub $field:ident : $type:ty = $default:expr $(, within($least:expr, $most:expr))?;
            )*
        }
    ) => {
        $crate::section::record! {
            $(#[doc = $about])*
            pub struct $name {
                $(
                    $(#[doc = $doc])*
                    pub $field: $type = $default $(, within($least, $most))?;
                )*
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default),* }
            }
        }
    };
}

/// Defines an enumeration of words.
macro_rules! words {
    (
        $(#[doc = $about:literal])*
        pub enum $name:ident ($what:literal) {
            $(
                $(#[doc = $doc:literal])*
                $variant:ident = $word:literal,
            )*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $(
                $(#[doc = $doc])*
                $variant,
            )*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            const WORDS: &'static [&'static str] = &[$($word),*];

            /// The word for it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::UnknownWord;

            fn from_str(word: &str) -> Result<Self, $crate::UnknownWord> {
                let known = Self::ALL.iter().copied().find(|known| known.as_str() == word);
                known.ok_or_else(|| $crate::UnknownWord::new(word, $what, Self::WORDS))
            }
        }

        impl $crate::decode::Decode for $name {
            const WANTED: &'static str = $what;

            fn decode(reader: &$crate::decode::Reader, at: &str, node: $crate::tree::Node) -> Option<Self> {
                let word = reader.text(at, &node, Self::WANTED)?;
                match word.parse::<Self>() {
                    Ok(known) => Some(known),
                    Err(unknown) => reader.refuse_with(&node.origin, format!("{at}: {unknown}"), unknown.advice()),
                }
            }

            fn schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                generator.subschema_for::<Self>()
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let choices: Vec<serde_json::Value> = vec![$($crate::schema::choice($word, &[$($doc),*])),*];
                schemars::json_schema!({ "description": $crate::schema::text(&[$($about),*]), "oneOf": choices })
            }
        }
    };
}

pub(crate) use {record, section, words};

/// A word that is not one of those that may stand there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{shown} is not {what}")]
pub struct UnknownWord {
    shown: String,
    what: &'static str,
    advice: String,
}

impl UnknownWord {
    pub(crate) fn new(word: &str, what: &'static str, words: &[&str]) -> Self {
        let advice = crate::nearest::advice(word, words, "words for it");
        Self { shown: crate::redact::quoted(word), what, advice }
    }

    /// The nearest word, or all of them.
    pub fn advice(&self) -> &str {
        &self.advice
    }
}
