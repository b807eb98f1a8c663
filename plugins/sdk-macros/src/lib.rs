//! The macros of `rota-sdk`. They are re-exported and documented there; plugins do not depend on this crate.

mod from_row;
mod procedure;
mod slot;
mod types;

use proc_macro::TokenStream;
use syn::{DeriveInput, Error, parse_macro_input};

/// Declare the procedure of a plugin: what `rota plugins show` prints, and the function that runs.
///
/// ```ignore
/// procedure! {
///     name: "postgres-vacuum",                    // lower-case words joined by hyphens
///     summary: "Vacuums what needs it.",          // at most 120 characters
///     description: include_str!("../README.md"),  // Markdown
///     risk: change,                               // observe | change | destroy
///     confirmation: "VACUUM",                     // optional: the word an operator must type first
///     idempotent: true,                           // harmless to run again after it vanished half-way
///     slots: {
///         database: sql [read, maintain] "Looks for dead rows and vacuums.",
///         archive: storage [write] optional "Keeps the log.",
///     },
///     examples: ["Only look" => json!({ "tables": [] })],  // optional
///     parameters: Parameters,                     // a type with #[parameters], or ()
///     report: Data,                               // a type with #[data], or ()
///     undo: Incomplete => compensate,             // optional: async fn compensate(cx: Context, undo: Undo<Incomplete>) -> Result<()>
///     run                                         // async fn run(cx: Context, parameters: Parameters) -> Outcome<Data>
/// }
/// ```
///
/// It makes a `Context` with one method for each slot (an `Option` where the slot is optional) and a type `Plugin`, which
/// tests hand to the mock host.
#[proc_macro]
pub fn procedure(input: TokenStream) -> TokenStream {
    let declaration = parse_macro_input!(input as procedure::Procedure);
    declaration.expand().into()
}

/// Make a struct the parameters of a procedure, or an enum a parameter's choices.
///
/// Each field needs a doc comment: operators read it. `#[parameter(default = 5)]` makes it optional, `#[parameter(range = 1..=100)]` bounds a
/// number; an `Option` is optional by itself. Unknown parameters are refused. An enum's choices are spelled in kebab case.
#[proc_macro_attribute]
pub fn parameters(arguments: TokenStream, item: TokenStream) -> TokenStream {
    attribute(arguments, item, "parameters", types::parameters)
}

/// Make a struct or enum (part of) the report's data. Each field needs a doc comment: it becomes the description in the report's schema.
#[proc_macro_attribute]
pub fn data(arguments: TokenStream, item: TokenStream) -> TokenStream {
    attribute(arguments, item, "data", types::data)
}

/// Read a row into a struct, each field from the column of its name. `#[column("name")]` names another column, `#[column(optional)]` takes the
/// type's default where the server has no such column, `#[column(skip)]` always takes it.
#[proc_macro_derive(FromRow, attributes(column))]
pub fn from_row(item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as DeriveInput);
    from_row::expand(&item).unwrap_or_else(Error::into_compile_error).into()
}

fn attribute(
    arguments: TokenStream,
    item: TokenStream,
    name: &str,
    expand: fn(DeriveInput) -> syn::Result<proc_macro2::TokenStream>,
) -> TokenStream {
    if !arguments.is_empty() {
        let message = format!("#[{name}] takes no arguments; what concerns a field stands on the field");
        return Error::new(proc_macro2::Span::call_site(), message).into_compile_error().into();
    }
    let item = parse_macro_input!(item as DeriveInput);
    expand(item).unwrap_or_else(Error::into_compile_error).into()
}
