//! Values between JavaScript, the contract and JSON.

use rota_sdk::prelude::*;
use rota_sdk::sql::Value as SqlValue;
use rota_sdk_sql::show;
use rquickjs::atom::Atom;
use rquickjs::function::Constructor;
use rquickjs::object::Property;
use rquickjs::{Array, BigInt, Ctx, IntoAtom, Object, TypedArray, Value};

/// How deep a value may be: what is deeper goes in circles, or wants to.
const DEPTH: usize = 64;
/// How many elements an array may have that is handed to the host.
const LONGEST: u32 = 10_000_000;
/// The largest whole number that JavaScript's numbers tell from its neighbours.
const SAFE: i64 = (1 << 53) - 1;

/// A value that belongs to neither side.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Js {
    /// Nothing given.
    Undefined,
    Null,
    Flag(bool),
    Number(f64),
    /// A whole number, which stays exact.
    Big(i64),
    Text(String),
    Bytes(Vec<u8>),
    /// Microseconds since 1970; JavaScript sees milliseconds.
    Instant(i64),
    List(Vec<Js>),
    Object(Vec<(String, Js)>),
    /// Rows of a database, an object each.
    Rows(Vec<String>, Vec<Vec<SqlValue>>),
}

impl Js {
    pub(crate) fn object<const N: usize>(members: [(&str, Self); N]) -> Self {
        Self::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// A count: a plain number while that is exact.
    pub(crate) fn count(number: u64) -> Self {
        match i64::try_from(number) {
            Ok(number) if number <= SAFE => Self::Number(number as f64),
            Ok(number) => Self::Big(number),
            Err(_) => Self::Text(number.to_string()),
        }
    }

    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self, Self::Undefined | Self::Null)
    }

    /// A member of an object.
    pub(crate) fn member(&self, name: &str) -> &Self {
        const NOTHING: &Js = &Js::Undefined;
        match self {
            Self::Object(members) => {
                members.iter().find(|(known, _)| known == name).map_or(NOTHING, |(_, value)| value)
            }
            _ => NOTHING,
        }
    }

    /// Out of the engine: own members only, so that what a script hung on a prototype is not taken for an argument.
    pub(crate) fn take<'js>(value: &Value<'js>) -> Result<Self> {
        Self::take_at(value, 0)
    }

    fn take_at<'js>(value: &Value<'js>, depth: usize) -> Result<Self> {
        if depth > DEPTH {
            return Err(Error::new(format!("a value is nested more than {DEPTH} deep, or holds itself")));
        }
        // What a getter or a Proxy threw is taken from the engine, which would throw it somewhere else.
        let broken = |error: rquickjs::Error| {
            let why = rquickjs::CaughtError::from_error(value.ctx(), error).to_string();
            Error::new(format!("a value could not be read: {}", why.lines().next().unwrap_or_default()))
        };
        Ok(if value.is_undefined() {
            Self::Undefined
        } else if value.is_null() {
            Self::Null
        } else if let Some(flag) = value.as_bool() {
            Self::Flag(flag)
        } else if let Some(number) = value.as_number() {
            Self::Number(number)
        } else if let Some(big) = value.as_big_int() {
            Self::Big(whole(big)?)
        } else if let Some(text) = value.as_string() {
            Self::Text(text.to_string().map_err(|_| {
                Error::new(
                    "a text holds half of a character (a lone surrogate), which no text outside of JavaScript can",
                )
                .hint("text.toWellFormed() puts U+FFFD in its place")
            })?)
        } else if let Some(array) = array_of(value).map_err(broken)? {
            // Its length is the script's own word for it, and need not be a small whole number (a Proxy's can be anything).
            let length: Value<'js> = array.get("length").map_err(broken)?;
            let length = length.as_number().filter(|length| length.fract() == 0.0 && *length >= 0.0);
            let length = match length {
                Some(length) if length <= LONGEST as f64 => length as u32,
                _ => return Err(Error::new(format!("an array has more than {LONGEST} elements, or no length"))),
            };
            let mut list = Vec::with_capacity(length.min(1024) as usize);
            for place in 0..length {
                let item: Value<'js> = array.get(place).map_err(broken)?;
                list.push(Self::take_at(&item, depth + 1)?);
            }
            Self::List(list)
        } else if value.is_function() {
            return Err(Error::new("a function stands where a value belongs"));
        } else if let Some(object) = value.as_object() {
            if let Some(bytes) = object.as_typed_array::<u8>() {
                return copied(bytes).map(Self::Bytes);
            }
            let date: Value<'_> = value.ctx().globals().get("Date").map_err(broken)?;
            if object.is_instance_of(&date) {
                let millis: f64 = object
                    .get::<_, rquickjs::Function<'_>>("getTime")
                    .and_then(|get| get.call((rquickjs::function::This(object.clone()),)))
                    .map_err(broken)?;
                if !millis.is_finite() {
                    return Err(Error::new("a Date that is no date (Invalid Date)"));
                }
                return Ok(Self::Instant((millis * 1000.0) as i64));
            }
            let mut members = Vec::new();
            for member in object.props::<String, Value<'_>>() {
                let (name, value) = member.map_err(broken)?;
                members.push((name, Self::take_at(&value, depth + 1)?));
            }
            Self::Object(members)
        } else {
            return Err(Error::new(format!("a value of type {} cannot be handed to the host", value.type_name())));
        })
    }

    /// Into the engine.
    pub(crate) fn give<'js>(self, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        let ctx = ctx.clone();
        Ok(match self {
            Self::Undefined => Value::new_undefined(ctx),
            Self::Null => Value::new_null(ctx),
            Self::Flag(flag) => Value::new_bool(ctx, flag),
            Self::Number(number) => Value::new_number(ctx, number),
            Self::Big(number) => BigInt::from_i64(ctx, number)?.into_value(),
            Self::Text(text) => rquickjs::String::from_str(ctx, &text)?.into_value(),
            Self::Bytes(bytes) => TypedArray::<u8>::new(ctx, bytes)?.into_value(),
            Self::Instant(micros) => instant(&ctx, micros)?,
            Self::List(list) => {
                let array = Array::new(ctx.clone())?;
                for (place, item) in list.into_iter().enumerate() {
                    array.set(place, item.give(&ctx)?)?;
                }
                array.into_value()
            }
            Self::Object(members) => {
                let object = Object::new(ctx.clone())?;
                for (name, value) in members {
                    own(&object, name, value.give(&ctx)?)?;
                }
                object.into_value()
            }
            Self::Rows(columns, rows) => {
                let names = columns
                    .iter()
                    .map(|name| Atom::from_str(ctx.clone(), name))
                    .collect::<rquickjs::Result<Vec<_>>>()?;
                let array = Array::new(ctx.clone())?;
                for (place, row) in rows.into_iter().enumerate() {
                    let object = Object::new(ctx.clone())?;
                    for ((name, text), value) in names.iter().zip(&columns).zip(row) {
                        let value = from_sql(value).give(&ctx)?;
                        match text.as_str() {
                            "__proto__" => own(&object, name.clone(), value)?,
                            _ => object.set(name.clone(), value)?,
                        }
                    }
                    array.set(place, object)?;
                }
                array.into_value()
            }
        })
    }

    /// As JSON, for reports: whole numbers that JSON readers would round, bytes and instants as texts.
    pub(crate) fn into_json(self) -> Json {
        match self {
            Self::Undefined | Self::Null => Json::Null,
            Self::Flag(flag) => json!(flag),
            Self::Number(number) if number.fract() == 0.0 && number.abs() <= SAFE as f64 => json!(number as i64),
            Self::Number(number) => json!(number),
            Self::Big(number) => json!(number),
            Self::Text(text) => json!(text),
            Self::Bytes(bytes) => {
                json!(format!("\\x{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
            }
            Self::Instant(micros) => json!(Timestamp(micros).to_string()),
            Self::List(list) => list.into_iter().map(Self::into_json).collect(),
            Self::Object(members) => {
                Json::Object(members.into_iter().map(|(name, value)| (name, value.into_json())).collect())
            }
            Self::Rows(columns, rows) => rows
                .into_iter()
                .map(|row| {
                    Json::Object(
                        columns.iter().cloned().zip(row.into_iter().map(|value| from_sql(value).into_json())).collect(),
                    )
                })
                .collect(),
        }
    }

    /// Out of JSON: a whole number that JavaScript would round becomes a BigInt.
    pub(crate) fn from_json(json: Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(flag) => Self::Flag(flag),
            Json::Number(number) => match number.as_i64() {
                Some(whole) if whole.abs() > SAFE => Self::Big(whole),
                _ => Self::Number(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::Text(text),
            Json::Array(list) => Self::List(list.into_iter().map(Self::from_json).collect()),
            Json::Object(members) => {
                Self::Object(members.into_iter().map(|(name, value)| (name, Self::from_json(value))).collect())
            }
        }
    }
}

/// An array, as the object that it is. To a script a Proxy of an array is one; the engine calls it none, and its members would be taken for an
/// object's.
fn array_of<'v, 'js>(value: &'v Value<'js>) -> rquickjs::Result<Option<&'v Object<'js>>> {
    let mut target = value.clone();
    while let Some(proxy) = target.as_proxy() {
        target = proxy.target()?.into_value();
    }
    Ok(value.as_object().filter(|_| target.is_array()))
}

/// A member of its own, whatever a script has hung on the prototype (and `__proto__` is a name like any other).
fn own<'js>(object: &Object<'js>, name: impl IntoAtom<'js>, value: Value<'js>) -> rquickjs::Result<()> {
    object.prop(name, Property::from(value).writable().enumerable().configurable())
}

#[allow(
    unsafe_code,
    reason = "the engine gives an array's bytes as a pointer; nothing of the script runs while they are copied"
)]
fn copied(bytes: &TypedArray<'_, u8>) -> Result<Vec<u8>> {
    let raw =
        bytes.as_raw().ok_or_else(|| Error::new("the bytes were handed to somebody else (a detached ArrayBuffer)"))?;
    Ok(unsafe { raw.as_ref() }.to_vec())
}

fn whole(big: &BigInt<'_>) -> Result<i64> {
    let ctx = big.as_value().ctx().clone();
    let number = big.clone().to_i64().map_err(|_| Error::new("a BigInt could not be read"))?;
    // The engine wraps what has more than 64 bits.
    let text = |value: Value<'_>| value.get::<rquickjs::Coerced<String>>().map(|text| text.0).unwrap_or_default();
    let exact = BigInt::from_i64(ctx, number).map(|back| text(back.into_value())).unwrap_or_default();
    if exact == text(big.as_value().clone()) {
        return Ok(number);
    }
    Err(Error::new("a BigInt has more than 64 bits")
        .hint("hand it over as a text, and cast in the statement: $1::numeric"))
}

fn instant<'js>(ctx: &Ctx<'js>, micros: i64) -> rquickjs::Result<Value<'js>> {
    let date: Constructor<'js> = ctx.globals().get("Date")?;
    date.construct((micros.div_euclid(1000) as f64,))
}

/// A column's value as a script sees it.
fn from_sql(value: SqlValue) -> Js {
    fn list<T>(items: Vec<Option<T>>, one: impl Fn(T) -> Js) -> Js {
        Js::List(items.into_iter().map(|item| item.map_or(Js::Null, &one)).collect())
    }
    match value {
        SqlValue::Null => Js::Null,
        SqlValue::Boolean(flag) => Js::Flag(flag),
        SqlValue::Int16(number) => Js::Number(number.into()),
        SqlValue::Int32(number) => Js::Number(number.into()),
        SqlValue::Int64(number) => Js::Big(number),
        SqlValue::Float32(number) => Js::Number(number.into()),
        SqlValue::Float64(number) => Js::Number(number),
        SqlValue::Oid(number) => Js::Number(number.into()),
        SqlValue::Xid(number) => Js::count(number),
        SqlValue::Text(text) | SqlValue::Numeric(text) | SqlValue::Uuid(text) => Js::Text(text),
        SqlValue::Json(text) => text.parse().map_or(Js::Text(text), Js::from_json),
        SqlValue::Bytes(bytes) => Js::Bytes(bytes),
        instant @ SqlValue::Timestamptz(i64::MAX | i64::MIN) => Js::from_json(show::json(&instant)),
        SqlValue::Timestamptz(micros) => Js::Instant(micros),
        SqlValue::Interval(interval) => Js::object([
            ("months", Js::Number(interval.months.into())),
            ("days", Js::Number(interval.days.into())),
            ("seconds", Js::Number(interval.microseconds as f64 / 1e6)),
        ]),
        SqlValue::Booleans(items) => list(items, Js::Flag),
        SqlValue::Integers(items) => list(items, Js::Big),
        SqlValue::Floats(items) => list(items, Js::Number),
        SqlValue::Texts(items) => list(items, Js::Text),
        SqlValue::Vector(items) => Js::List(items.into_iter().map(|item| Js::Number(item.into())).collect()),
        // Everything else is the text that PostgreSQL writes.
        other => Js::from_json(show::json(&other)),
    }
}

/// What stands for `$1`.
pub(crate) fn to_sql(value: &Js) -> Result<SqlValue> {
    Ok(match value {
        Js::Undefined => {
            return Err(Error::new("a value for the statement is undefined").hint("where NULL is meant, say null"));
        }
        Js::Null => SqlValue::Null,
        Js::Flag(flag) => SqlValue::Boolean(*flag),
        Js::Number(number) if number.fract() == 0.0 && number.abs() <= SAFE as f64 => SqlValue::Int64(*number as i64),
        Js::Number(number) => SqlValue::Float64(*number),
        Js::Big(number) => SqlValue::Int64(*number),
        Js::Text(text) => SqlValue::Text(text.clone()),
        Js::Bytes(bytes) => SqlValue::Bytes(bytes.clone()),
        Js::Instant(micros) => SqlValue::Timestamptz(*micros),
        Js::List(items) => array(items)?,
        Js::Object(_) | Js::Rows(..) => SqlValue::Json(value.clone().into_json().to_string()),
    })
}

/// An array of one type.
fn array(items: &[Js]) -> Result<SqlValue> {
    let whole = |item: &Js| match item {
        Js::Null => Some(None),
        Js::Big(number) => Some(Some(*number)),
        Js::Number(number) if number.fract() == 0.0 && number.abs() <= SAFE as f64 => Some(Some(*number as i64)),
        _ => None,
    };
    let number = |item: &Js| match item {
        Js::Null => Some(None),
        Js::Number(number) => Some(Some(*number)),
        _ => None,
    };
    let flag = |item: &Js| match item {
        Js::Null => Some(None),
        Js::Flag(flag) => Some(Some(*flag)),
        _ => None,
    };
    let text = |item: &Js| match item {
        Js::Null => Some(None),
        Js::Text(text) => Some(Some(text.clone())),
        _ => None,
    };
    if let Some(items) = items.iter().map(text).collect() {
        return Ok(SqlValue::Texts(items));
    }
    if let Some(items) = items.iter().map(whole).collect() {
        return Ok(SqlValue::Integers(items));
    }
    if let Some(items) = items.iter().map(number).collect() {
        return Ok(SqlValue::Floats(items));
    }
    if let Some(items) = items.iter().map(flag).collect() {
        return Ok(SqlValue::Booleans(items));
    }
    Err(Error::new("an array for the statement holds values of several types")
        .hint("arrays of texts, numbers or booleans can be bound; give others as JSON: JSON.stringify(list), and cast: $1::jsonb"))
}
