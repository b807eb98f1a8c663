//! `#[parameters]` and `#[data]`: types that have a JSON Schema.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::spanned::Spanned;
use syn::{
    Attribute, Data, DeriveInput, Error, Expr, ExprRange, Field, Fields, Ident, RangeLimits, Result, parse_quote,
};

/// Whether there is a doc comment that says something.
fn documented(attributes: &[Attribute]) -> bool {
    attributes.iter().filter(|attribute| attribute.path().is_ident("doc")).any(|attribute| match &attribute.meta {
        syn::Meta::NameValue(pair) => !matches!(&pair.value, Expr::Lit(lit) if matches!(&lit.lit, syn::Lit::Str(text) if text.value().trim().is_empty())),
        _ => false,
    })
}

fn demand_doc(attributes: &[Attribute], name: &Ident, kind: &str) -> Result<()> {
    if documented(attributes) {
        return Ok(());
    }
    Err(Error::new(
        name.span(),
        format!("the {kind} `{name}` needs a doc comment (`/// ...`): it becomes the description that people read"),
    ))
}

/// The derives that a schema type gets. It may have its own beside them.
fn derives(item: &mut DeriveInput, case: &str, strict: bool) {
    item.attrs.push(parse_quote! {
        #[derive(
            ::core::fmt::Debug, ::core::clone::Clone,
            ::rota_sdk::__private::serde::Serialize, ::rota_sdk::__private::serde::Deserialize,
            ::rota_sdk::__private::schemars::JsonSchema,
        )]
    });
    item.attrs.push(parse_quote! { #[serde(crate = "::rota_sdk::__private::serde")] });
    item.attrs.push(parse_quote! { #[schemars(crate = "::rota_sdk::__private::schemars")] });
    if strict {
        item.attrs.push(parse_quote! { #[serde(deny_unknown_fields)] });
    }
    if !case.is_empty() {
        item.attrs.push(parse_quote! { #[serde(rename_all = #case)] });
    }
}

/// Document each choice of an enum; only plain choices.
fn choices(item: &DeriveInput) -> Result<bool> {
    let Data::Enum(choices) = &item.data else { return Ok(false) };
    for choice in &choices.variants {
        demand_doc(&choice.attrs, &choice.ident, "choice")?;
    }
    Ok(choices.variants.iter().all(|choice| matches!(choice.fields, Fields::Unit)))
}

pub(crate) fn data(mut item: DeriveInput) -> Result<TokenStream> {
    if let Data::Enum(_) = &item.data {
        let plain = choices(&item)?;
        derives(&mut item, "snake_case", false);
        if plain {
            item.attrs.push(parse_quote! { #[derive(::core::marker::Copy, ::core::cmp::PartialEq, ::core::cmp::Eq)] });
        }
        return Ok(quote! { #item });
    }
    for field in named(&mut item, "data")? {
        if let Some(name) = &field.ident {
            demand_doc(&field.attrs, name, "field")?;
        }
    }
    derives(&mut item, "", false);
    Ok(quote! { #item })
}

fn named<'i>(item: &'i mut DeriveInput, attribute: &str) -> Result<impl Iterator<Item = &'i mut Field>> {
    let ident = item.ident.clone();
    match &mut item.data {
        Data::Struct(data) => match &mut data.fields {
            Fields::Named(fields) => Ok(fields.named.iter_mut()),
            _ => Err(Error::new_spanned(ident, format!("#[{attribute}] needs named fields: `struct {{ ... }}`"))),
        },
        _ => Err(Error::new_spanned(ident, format!("#[{attribute}] is for structs with named fields and for enums"))),
    }
}

/// What `#[parameter(...)]` says.
#[derive(Default)]
struct Settings {
    default: Option<Expr>,
    range: Option<ExprRange>,
}

fn settings(field: &mut Field) -> Result<Settings> {
    let mut found = Settings::default();
    let (ours, others) = std::mem::take(&mut field.attrs)
        .into_iter()
        .partition(|attribute: &Attribute| attribute.path().is_ident("parameter"));
    field.attrs = others;
    let ours: Vec<Attribute> = ours;
    for attribute in &ours {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("default") {
                found.default = Some(if meta.input.peek(syn::Token![=]) {
                    meta.value()?.parse()?
                } else {
                    parse_quote!(::core::default::Default::default())
                });
            } else if meta.path.is_ident("range") {
                let range: Expr = meta.value()?.parse()?;
                let Expr::Range(range) = range else {
                    return Err(Error::new(range.span(), "a range looks like `1..=100`, `1..` or `..=100`"));
                };
                if matches!(range.limits, RangeLimits::HalfOpen(_)) && range.end.is_some() {
                    return Err(Error::new(range.span(), "say the largest value: `1..=100`"));
                }
                found.range = Some(range);
            } else {
                return Err(meta.error("expected #[parameter(default = ...)] or #[parameter(range = 1..=100)]"));
            }
            Ok(())
        })?;
    }
    Ok(found)
}

/// The type inside an `Option`.
fn optional(field: &Field) -> bool {
    matches!(&field.ty, syn::Type::Path(path) if path.path.segments.last().is_some_and(|segment| segment.ident == "Option"))
}

/// The comparison that keeps a parameter in its range.
fn range_check(name: &Ident, range: &ExprRange, optional: bool) -> TokenStream {
    let (low, high) = (&range.start, &range.end);
    let text = match (low, high) {
        (Some(low), Some(high)) => format!("from {} to {}", quote!(#low), quote!(#high)),
        (Some(low), None) => format!("at least {}", quote!(#low)),
        (None, Some(high)) => format!("at most {}", quote!(#high)),
        (None, None) => String::new(),
    };
    let pattern = format!("`{name}` must be {text}, not {{}}");
    let value = if optional {
        quote!(if let ::core::option::Option::Some(value) = &read.#name)
    } else {
        quote!(if let value = &read.#name)
    };
    quote! {
        #[allow(irrefutable_let_patterns, clippy::manual_range_contains)]
        #value {
            if !(#range).contains(value) {
                return ::core::result::Result::Err(::std::format!(#pattern, value));
            }
        }
    }
}

pub(crate) fn parameters(mut item: DeriveInput) -> Result<TokenStream> {
    if let Data::Enum(_) = &item.data {
        if !choices(&item)? {
            return Err(Error::new_spanned(&item.ident, "the choices of a parameter are plain names, without values"));
        }
        derives(&mut item, "kebab-case", false);
        item.attrs.push(parse_quote! { #[derive(::core::marker::Copy, ::core::cmp::PartialEq, ::core::cmp::Eq)] });
        return Ok(quote! { #item });
    }
    let ident = item.ident.clone();
    let (mut defaults, mut checks, mut blank) = (Vec::new(), Vec::new(), Vec::new());
    let mut all_default = true;
    for field in named(&mut item, "parameters")? {
        let Some(name) = field.ident.clone() else { continue };
        demand_doc(&field.attrs, &name, "parameter")?;
        let Settings { default, range } = settings(field)?;
        if let Some(range) = &range {
            checks.push(range_check(&name, range, optional(field)));
            let bounds = [("min", &range.start), ("max", &range.end)].into_iter().filter_map(|(word, bound)| {
                let word = format_ident!("{word}");
                bound.as_ref().map(|bound| quote!(#word = #bound))
            });
            field.attrs.push(parse_quote! { #[schemars(range(#(#bounds),*))] });
        }
        if let Some(default) = default {
            let function = format_ident!("__default_{name}");
            let path = format!("{ident}::{function}");
            let ty = &field.ty;
            field.attrs.push(parse_quote! { #[serde(default = #path)] });
            defaults.push(quote! { fn #function() -> #ty { #default } });
            blank.push(quote! { #name: Self::#function() });
        } else if optional(field) {
            blank.push(quote! { #name: ::core::option::Option::None });
        } else {
            all_default = false;
        }
    }
    derives(&mut item, "", true);
    let default = all_default.then(|| {
        quote! {
            impl ::core::default::Default for #ident {
                fn default() -> Self { Self { #(#blank),* } }
            }
        }
    });
    Ok(quote! {
        #item

        #[allow(clippy::missing_const_for_fn)]
        impl #ident { #(#defaults)* }

        #default

        impl ::rota_sdk::Parameters for #ident {
            fn schema() -> ::std::string::String {
                ::rota_sdk::__private::schema::<Self>()
            }

            fn read(json: &str) -> ::core::result::Result<Self, ::std::string::String> {
                let read: Self = ::rota_sdk::__private::from_json(json)?;
                #(#checks)*
                ::core::result::Result::Ok(read)
            }
        }
    })
}
