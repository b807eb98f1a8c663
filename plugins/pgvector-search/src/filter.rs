//! Filters: a column, an operator, a value that is bound.

use rota_sdk::prelude::*;
use rota_sdk::sql::{ToValue as _, Value};
use rota_sdk_index::element::Column;

/// What must be true of a row.
#[parameters]
pub(crate) struct Filter {
    /// The column.
    column: String,
    /// How it is compared.
    operator: Operator,
    /// With what: a text, a number, a boolean; a list of them for `in`; nothing for `is-null` and `is-not-null`. It is read as the column's type.
    #[parameter(default = Json::Null)]
    value: Json,
}

/// How a column is compared.
#[parameters]
pub(crate) enum Operator {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
    /// One of a list.
    In,
    /// `LIKE`, with `%` and `_`.
    Like,
    /// It is NULL.
    IsNull,
    /// It is not NULL.
    IsNotNull,
}

impl Filter {
    /// As SQL, with its value as parameter `$place`; none where it needs no value.
    pub(crate) fn sql(&self, columns: &[Column], place: usize) -> Result<(String, Option<Value>)> {
        let column = Column::named(columns, &self.column)
            .ok_or_else(|| Error::new(format!("`filters`: the table has no column {:?}", self.column)))?;
        // Both are as the server wrote them.
        let (name, kind) = (&column.quoted, &column.type_name);
        let compared = |operator: &str| {
            Ok((format!("{name} {operator} ${place}::text::{kind}"), Some(text(&self.value)?.to_value())))
        };
        match self.operator {
            Operator::Equal => compared("="),
            Operator::NotEqual => compared("<>"),
            Operator::Less => compared("<"),
            Operator::AtMost => compared("<="),
            Operator::Greater => compared(">"),
            Operator::AtLeast => compared(">="),
            Operator::Like => Ok((format!("{name}::text like ${place}"), Some(text(&self.value)?.to_value()))),
            Operator::In => {
                let Json::Array(values) = &self.value else { return Err(Error::new("`filters`: `in` needs a list")) };
                let values: Vec<String> = values.iter().map(text).collect::<Result<_>>()?;
                Ok((format!("{name} = any (${place}::text[]::{kind}[])"), Some(values.to_value())))
            }
            Operator::IsNull => Ok((format!("{name} is null"), None)),
            Operator::IsNotNull => Ok((format!("{name} is not null"), None)),
        }
    }
}

fn text(value: &Json) -> Result<String> {
    match value {
        Json::String(text) => Ok(text.clone()),
        Json::Number(number) => Ok(number.to_string()),
        Json::Bool(flag) => Ok(flag.to_string()),
        _ => Err(Error::new("`filters`: a value is a text, a number or a boolean")
            .hint("use is-null and is-not-null for NULL, `in` for lists")),
    }
}
