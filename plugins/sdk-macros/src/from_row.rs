//! `#[derive(FromRow)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Field, Fields, LitStr, Result};

/// Where a field comes from.
enum Source {
    Column(String),
    OptionalColumn(String),
    Default,
}

pub(crate) fn expand(item: &DeriveInput) -> Result<TokenStream> {
    let Data::Struct(data) = &item.data else {
        return Err(Error::new_spanned(&item.ident, "FromRow reads a row into a struct with named fields"));
    };
    let Fields::Named(fields) = &data.fields else {
        return Err(Error::new_spanned(
            &item.ident,
            "FromRow needs named fields, because columns have names; for a tuple, query as `(A, B)`",
        ));
    };
    let mut reads = Vec::new();
    for field in &fields.named {
        let name = &field.ident;
        let read = match source(field)? {
            Source::Column(column) => quote! { row.get(#column)? },
            Source::OptionalColumn(column) => quote! { row.get_or_default(#column)? },
            Source::Default => quote! { ::core::default::Default::default() },
        };
        reads.push(quote! { #name: #read });
    }
    let ident = &item.ident;
    let (generics, arguments, bounds) = item.generics.split_for_impl();
    Ok(quote! {
        impl #generics ::rota_sdk::sql::FromRow for #ident #arguments #bounds {
            fn from_row(row: &::rota_sdk::sql::Row) -> ::rota_sdk::Result<Self> {
                ::core::result::Result::Ok(Self { #(#reads),* })
            }
        }
    })
}

fn source(field: &Field) -> Result<Source> {
    let mut column = field.ident.as_ref().map(ToString::to_string).unwrap_or_default();
    let (mut optional, mut skip) = (false, false);
    for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("column")) {
        if let Ok(name) = attribute.parse_args::<LitStr>() {
            column = name.value();
            continue;
        }
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("optional") {
                optional = true;
            } else if meta.path.is_ident("skip") {
                skip = true;
            } else {
                return Err(meta.error("expected #[column(\"name\")], #[column(optional)] or #[column(skip)]"));
            }
            Ok(())
        })?;
    }
    Ok(match (skip, optional) {
        (true, _) => Source::Default,
        (false, true) => Source::OptionalColumn(column),
        (false, false) => Source::Column(column),
    })
}
