//! `procedure!`.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use std::collections::BTreeSet;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, Ident, LitBool, LitStr, Result, Token, Type, braced, bracketed};

/// Each capability with its access words, and which of them only read.
const CAPABILITIES: [(&str, &str, &[&str]); 4] = [
    ("sql", "SqlSlot", &["read", "write", "maintain", "index", "ddl", "signal", "promote", "copy-out", "copy-in"]),
    ("storage", "StorageSlot", &["read", "write", "delete"]),
    ("tool", "ToolSlot", &["run"]),
    ("key", "KeySlot", &["decrypt"]),
];
const ONLY_READ: [&str; 4] = ["read", "copy-out", "run", "decrypt"];
const KEYS: [&str; 10] = [
    "name",
    "summary",
    "description",
    "risk",
    "confirmation",
    "idempotent",
    "slots",
    "examples",
    "parameters",
    "report",
];
const RISKS: [(&str, &str); 3] = [("observe", "Observe"), ("change", "Change"), ("destroy", "Destroy")];
/// Methods that the context has by itself.
const TAKEN: [&str; 10] =
    ["mode", "is_plan", "info", "deadline", "now", "sleep", "artifact", "gauge", "counter", "clone"];

/// The nearest of some words, when it is near.
fn nearest<'w>(word: &str, words: impl IntoIterator<Item = &'w str>) -> String {
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
fn well_named(name: &str, underscores: bool) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || (underscores && b == b'_'))
    };
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.split('-').all(part)
}

struct Slot {
    name: String,
    span: Span,
    capability: &'static str,
    handle: &'static str,
    accesses: Vec<String>,
    optional: bool,
    purpose: LitStr,
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
                format!("there is no capability `{capability}`: use sql, storage, tool or key{hint}"),
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

pub(crate) struct Procedure {
    name: LitStr,
    summary: LitStr,
    description: Expr,
    risk: Ident,
    confirmation: Option<LitStr>,
    idempotent: LitBool,
    slots: Vec<Slot>,
    examples: Vec<(LitStr, Expr)>,
    parameters: Type,
    report: Type,
    run: Ident,
}

fn slots(input: ParseStream) -> Result<Vec<Slot>> {
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

fn examples(input: ParseStream) -> Result<Vec<(LitStr, Expr)>> {
    let list;
    bracketed!(list in input);
    let mut examples = Vec::new();
    while !list.is_empty() {
        let title: LitStr = list.parse()?;
        list.parse::<Token![=>]>()?;
        examples.push((title, list.parse()?));
        if !list.is_empty() {
            list.parse::<Token![,]>()?;
        }
    }
    Ok(examples)
}

fn checked_name(input: ParseStream) -> Result<LitStr> {
    let name: LitStr = input.parse()?;
    if well_named(&name.value(), false) {
        return Ok(name);
    }
    Err(Error::new(name.span(), "a plugin's name is lower-case words joined by hyphens: \"postgres-vacuum\""))
}

fn checked_summary(input: ParseStream) -> Result<LitStr> {
    let summary: LitStr = input.parse()?;
    let length = summary.value().chars().count();
    if length > 120 || summary.value().contains('\n') {
        return Err(Error::new(
            summary.span(),
            format!("the summary is one line of at most 120 characters, this has {length}"),
        ));
    }
    Ok(summary)
}

fn checked_risk(input: ParseStream) -> Result<Ident> {
    let risk: Ident = input.parse()?;
    match RISKS.iter().find(|(word, _)| risk == word) {
        Some((_, variant)) => Ok(Ident::new(variant, risk.span())),
        None => Err(Error::new(
            risk.span(),
            format!("there is no risk `{risk}`: observe reads only, change is routine, destroy can lose data"),
        )),
    }
}

impl Parse for Procedure {
    fn parse(input: ParseStream) -> Result<Self> {
        let (mut name, mut summary, mut description, mut risk, mut confirmation) = (None, None, None, None, None);
        let (mut idempotent, mut slot_list, mut example_list, mut parameters, mut report, mut run) =
            (None, None, None, None, None, None);
        while !input.is_empty() {
            let key = input.call(Ident::parse_any)?;
            if !input.peek(Token![:]) {
                if KEYS.iter().any(|known| key == known) {
                    return Err(Error::new(key.span(), format!("`{key}` needs a value: `{key}: ...`")));
                }
                run = Some(key);
                let _ = input.parse::<Option<Token![,]>>()?;
                if !input.is_empty() {
                    return Err(input.error("the function that runs comes last"));
                }
                break;
            }
            input.parse::<Token![:]>()?;
            match key.to_string().as_str() {
                "name" => name = Some(checked_name(input)?),
                "summary" => summary = Some(checked_summary(input)?),
                "description" => description = Some(input.parse::<Expr>()?),
                "risk" => risk = Some(checked_risk(input)?),
                "confirmation" => confirmation = Some(input.parse::<LitStr>()?),
                "idempotent" => idempotent = Some(input.parse::<LitBool>()?),
                "slots" => slot_list = Some(slots(input)?),
                "examples" => example_list = Some(examples(input)?),
                "parameters" => parameters = Some(input.parse::<Type>()?),
                "report" => report = Some(input.parse::<Type>()?),
                "run" => run = Some(input.parse::<Ident>()?),
                other => {
                    let hint = nearest(other, KEYS);
                    return Err(Error::new(key.span(), format!("a procedure has no `{other}`{hint}")));
                }
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        let missing =
            |key: &str, like: &str| Error::new(Span::call_site(), format!("the procedure needs `{key}`: {like}"));
        let this = Self {
            name: name.ok_or_else(|| missing("name", "name: \"table-count\""))?,
            summary: summary.ok_or_else(|| missing("summary", "summary: \"Counts the tables of a schema.\""))?,
            description: description
                .ok_or_else(|| missing("description", "description: include_str!(\"../README.md\")"))?,
            risk: risk.ok_or_else(|| missing("risk", "risk: observe, change or destroy"))?,
            confirmation,
            idempotent: idempotent
                .ok_or_else(|| missing("idempotent", "idempotent: true when a second run is harmless"))?,
            slots: slot_list
                .ok_or_else(|| missing("slots", "slots: { database: sql [read] \"Reads the catalog.\" }"))?,
            examples: example_list.unwrap_or_default(),
            parameters: parameters
                .ok_or_else(|| missing("parameters", "parameters: a type with #[parameters], or ()"))?,
            report: report.ok_or_else(|| missing("report", "report: a type with #[data], or ()"))?,
            run: run.ok_or_else(|| missing("run", "the name of its async function, last"))?,
        };
        this.check()?;
        Ok(this)
    }
}

impl Procedure {
    /// What concerns more than one key.
    fn check(&self) -> Result<()> {
        if self.risk == "Observe" {
            for slot in self.slots.iter().filter(|slot| !slot.optional) {
                if let Some(access) = slot.accesses.iter().find(|access| !ONLY_READ.contains(&access.as_str())) {
                    let message = format!(
                        "`risk: observe` reads only, but the slot `{}` needs `{access}`: make it `change`, or the slot optional",
                        slot.name
                    );
                    return Err(Error::new(slot.span, message));
                }
            }
        }
        if self.risk == "Destroy" && self.confirmation.is_none() {
            return Err(Error::new(
                self.risk.span(),
                "`risk: destroy` needs a word that an operator must type: `confirmation: \"RESTORE\"`",
            ));
        }
        Ok(())
    }

    fn slot_methods(&self) -> impl Iterator<Item = TokenStream> + '_ {
        self.slots.iter().map(|slot| {
            let method = Ident::new(&slot.name.replace('-', "_"), slot.span);
            let (name, handle, purpose) = (&slot.name, format_ident!("{}", slot.handle), slot.purpose.value());
            if slot.optional {
                let doc = format!("{purpose} None when the job leaves the slot unbound.");
                quote! {
                    #[doc = #doc]
                    pub fn #method(&self) -> ::core::option::Option<::rota_sdk::#handle> { ::rota_sdk::#handle::if_bound(#name) }
                }
            } else {
                quote! {
                    #[doc = #purpose]
                    pub fn #method(&self) -> ::rota_sdk::#handle { ::rota_sdk::#handle::declared(#name) }
                }
            }
        })
    }

    pub(crate) fn expand(&self) -> TokenStream {
        let Self { name, summary, description, risk, idempotent, parameters, report, run, .. } = self;
        let confirmation = match &self.confirmation {
            Some(word) => quote!(::core::option::Option::Some(#word)),
            None => quote!(::core::option::Option::None),
        };
        let slots = self.slots.iter().map(|slot| {
            let Slot { name, capability, accesses, optional, purpose, .. } = slot;
            quote! { ::rota_sdk::SlotDeclaration { name: #name, capability: #capability, accesses: &[#(#accesses),*], purpose: #purpose, optional: #optional } }
        });
        let examples = self.examples.iter().map(|(title, parameters)| quote!((#title, #parameters)));
        let methods = self.slot_methods();
        // At the function's name, so that a wrong signature is shown there.
        let call = quote_spanned! { run.span()=> #run(Context(context), parameters) };
        let answer = quote_spanned! { run.span()=> let outcome: ::rota_sdk::Outcome<#report> = #call.await; outcome };
        quote! {
            /// The run, with a method for each slot.
            #[derive(Clone, Debug)]
            pub struct Context(::rota_sdk::Context);

            impl ::core::ops::Deref for Context {
                type Target = ::rota_sdk::Context;
                fn deref(&self) -> &::rota_sdk::Context { &self.0 }
            }

            #[allow(dead_code)]
            impl Context { #(#methods)* }

            /// The procedure, for the mock host.
            #[derive(Clone, Copy, Debug)]
            pub struct Plugin;

            impl ::rota_sdk::Procedure for Plugin {
                type Parameters = #parameters;
                type Data = #report;
                const DECLARATION: ::rota_sdk::Declaration = ::rota_sdk::Declaration {
                    name: #name,
                    version: ::core::env!("CARGO_PKG_VERSION"),
                    summary: #summary,
                    description: #description,
                    risk: ::rota_sdk::Risk::#risk,
                    confirmation: #confirmation,
                    idempotent: #idempotent,
                    slots: &[#(#slots),*],
                };

                fn examples() -> ::std::vec::Vec<(&'static str, ::rota_sdk::__private::serde_json::Value)> {
                    ::std::vec![#(#examples),*]
                }

                async fn run(context: ::rota_sdk::Context, parameters: #parameters) -> ::rota_sdk::Outcome<#report> {
                    #answer
                }
            }

            ::rota_sdk::__export!(Plugin);
        }
    }
}
