//! `procedure!`.

use crate::slot::{Slot, nearest, slots, well_named};
use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Expr, Ident, LitBool, LitStr, Result, Token, Type, bracketed};

const ONLY_READ: [&str; 4] = ["read", "copy-out", "run", "decrypt"];
const KEYS: [&str; 11] = [
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
    "undo",
];
const RISKS: [(&str, &str); 3] = [("observe", "Observe"), ("change", "Change"), ("destroy", "Destroy")];

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
    /// The state that can be undone, and the function that does it.
    undo: Option<(Type, Ident)>,
    run: Ident,
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

fn undo(input: ParseStream) -> Result<(Type, Ident)> {
    let state: Type = input.parse()?;
    if !input.peek(Token![=>]) {
        let like =
            "`undo: State => compensate`, with `async fn compensate(cx: Context, undo: Undo<State>) -> Result<()>`";
        return Err(input.error(format!("`undo` needs the function that undoes it: {like}")));
    }
    input.parse::<Token![=>]>()?;
    Ok((state, input.parse()?))
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
        let (mut idempotent, mut slot_list, mut example_list, mut parameters, mut report, mut undone, mut run) =
            (None, None, None, None, None, None, None);
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
                "undo" => undone = Some(undo(input)?),
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
            undo: undone,
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

    /// What a procedure that can undo implements, and the component's exports.
    fn exports(&self) -> TokenStream {
        let Some((state, function)) = &self.undo else { return quote!(::rota_sdk::__export!(Plugin);) };
        let call = quote_spanned! { function.span()=> #function(Context(context), __undo) };
        let answer = quote_spanned! { function.span()=> let __undone: ::rota_sdk::Result<()> = #call.await; __undone };
        quote! {
            impl ::rota_sdk::Undoable for Plugin {
                type State = #state;

                async fn compensate(context: ::rota_sdk::Context, __undo: ::rota_sdk::Undo<#state>) -> ::rota_sdk::Result<()> {
                    #answer
                }
            }

            impl ::rota_sdk::Undoes<#state> for Plugin {}

            ::rota_sdk::__export_undoable!(Plugin);
        }
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
        let exports = self.exports();
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
            impl Context {
                #(#methods)*

                /// Register what is undone if the run does not succeed, before the effect that it undoes: the function of `undo:` in
                /// `procedure!` is called with the name and the state. The name tells it from the others of the run.
                ///
                /// # Errors
                /// When it cannot be registered; then what it would undo must not be done.
                pub async fn undo<S>(
                    &self,
                    name: impl ::core::convert::Into<::std::string::String>,
                    state: &S,
                ) -> ::rota_sdk::Result<::rota_sdk::Compensation>
                where
                    Plugin: ::rota_sdk::Undoes<S>,
                    S: ::rota_sdk::__private::serde::Serialize,
                {
                    ::rota_sdk::__private::register(name.into(), state).await
                }
            }

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

            #exports
        }
    }
}
