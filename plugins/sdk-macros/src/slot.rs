//! The slots of `procedure!`, and what is said of misspelt words.

use proc_macro2::Span;
use std::collections::BTreeSet;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Ident, LitStr, Result, Token, braced, bracketed};

/// Each capability with its access words, and which of them only read.
const CAPABILITIES: [(&str, &str, &[&str]); 7] = [
    (
        "sql",
        "SqlSlot",
        &["read", "write", "maintain", "index", "ddl", "signal", "promote", "copy-out", "copy-in", "alter-system"],
    ),
    ("storage", "StorageSlot", &["read", "write", "delete"]),
    ("tool", "ToolSlot", &["run"]),
    ("key", "KeySlot", &["decrypt"]),
    ("cache", "CacheSlot", &["read", "write", "delete", "debug"]),
    ("kubernetes", "ClusterSlot", &["read", "write", "delete", "scale", "exec", "run", "secrets"]),
    ("jetstream", "JetstreamSlot", &["read"]),
];
/// Methods that the context has by itself.
const TAKEN: [&str; 12] =
    ["mode", "is_plan", "info", "deadline", "now", "sleep", "artifact", "gauge", "counter", "clone", "step", "undo"];

/// The nearest of some words, when it is near.
pub(crate) fn nearest<'w>(word: &str, words: impl IntoIterator<Item = &'w str>) -> String {
    let near = words.into_iter().map(|known| (distance(word, known), known)).min();
    near.filter(|(distance, known)| *distance <= known.len().div_ceil(3))
        .map(|(_, known)| format!("; did you mean `{known}`?"))
        .unwrap_or_default()
}

/// How many letters differ (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let substituted = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

/// Lower-case words joined by hyphens (and underscores, for slots).
pub(crate) fn well_named(name: &str, underscores: bool) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || (underscores && b == b'_'))
    };
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.split('-').all(part)
}

pub(crate) struct Slot {
    pub(crate) name: String,
    pub(crate) span: Span,
    pub(crate) capability: &'static str,
    pub(crate) handle: &'static str,
    pub(crate) accesses: Vec<String>,
    pub(crate) optional: bool,
    pub(crate) purpose: LitStr,
}

/// A word with hyphens: `copy-out`.
fn word(input: ParseStream) -> Result<(String, Span)> {
    if input.peek(LitStr) {
        let text: LitStr = input.parse()?;
        return Ok((text.value(), text.span()));
    }
    let first = input.call(Ident::parse_any)?;
    let mut text = first.to_string();
    while input.peek(Token![-]) {
        input.parse::<Token![-]>()?;
        text = format!("{text}-{}", input.call(Ident::parse_any)?);
    }
    Ok((text, first.span()))
}

impl Parse for Slot {
    fn parse(input: ParseStream) -> Result<Self> {
        let (name, span) = word(input)?;
        if !well_named(&name, true) {
            return Err(Error::new(
                span,
                format!("the slot `{name}` must be named in lower-case words joined by hyphens"),
            ));
        }
        if TAKEN.contains(&name.replace('-', "_").as_str()) {
            return Err(Error::new(
                span,
                format!("a slot cannot be named `{name}`: the context has a method of that name"),
            ));
        }
        input.parse::<Token![:]>()?;
        let (capability, at) = word(input)?;
        let Some((capability, handle, known)) = CAPABILITIES.into_iter().find(|(known, ..)| *known == capability)
        else {
            let hint = nearest(&capability, CAPABILITIES.map(|(known, ..)| known));
            return Err(Error::new(
                at,
                format!(
                    "there is no capability `{capability}`: use sql, storage, tool, key, cache, kubernetes or jetstream{hint}"
                ),
            ));
        };
        let list;
        bracketed!(list in input);
        let mut accesses = Vec::new();
        while !list.is_empty() {
            let (access, at) = word(&list)?;
            if !known.contains(&access.as_str()) {
                let hint = nearest(&access, known.iter().copied());
                return Err(Error::new(
                    at,
                    format!("`{capability}` has no access `{access}`: it has {}{hint}", known.join(", ")),
                ));
            }
            accesses.push(access);
            if !list.is_empty() {
                list.parse::<Token![,]>()?;
            }
        }
        if accesses.is_empty() {
            return Err(Error::new(
                span,
                format!("the slot `{name}` asks for no access, so nothing could be done with it"),
            ));
        }
        let optional = input.peek(Ident);
        if optional {
            let word: Ident = input.parse()?;
            if word != "optional" {
                return Err(Error::new(word.span(), "expected `optional` or the slot's purpose, a string"));
            }
        }
        let purpose = input.parse::<LitStr>().map_err(|error| {
            Error::new(
                error.span(),
                format!("the slot `{name}` needs its purpose, a string: operators read it before they grant"),
            )
        })?;
        Ok(Self { name, span, capability, handle, accesses, optional, purpose })
    }
}

pub(crate) fn slots(input: ParseStream) -> Result<Vec<Slot>> {
    let list;
    braced!(list in input);
    let slots: Vec<Slot> = Punctuated::<Slot, Token![,]>::parse_terminated(&list)?.into_iter().collect();
    let mut seen = BTreeSet::new();
    for slot in &slots {
        if !seen.insert(slot.name.replace('-', "_")) {
            return Err(Error::new(slot.span, format!("the slot `{}` is declared twice", slot.name)));
        }
    }
    Ok(slots)
}
