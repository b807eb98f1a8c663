//! What `procedure!` fills in, and what the component's exports do with it.

use crate::bindings::rota::runbook::reports as wit;
use crate::{Context, Error, Report, Result};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;

pub use wit::Risk;

/// What a procedure's function answers.
pub type Outcome<D = ()> = Result<Report<D>>;

/// What a procedure says of itself, beside its schemas.
#[derive(Clone, Copy, Debug)]
pub struct Declaration {
    /// The plugin's name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Markdown.
    pub description: &'static str,
    /// How much harm it can do.
    pub risk: Risk,
    /// The word an operator must type first.
    pub confirmation: Option<&'static str>,
    /// Whether a second run after one that vanished half-way is harmless.
    pub idempotent: bool,
    /// The slots.
    pub slots: &'static [SlotDeclaration],
}

/// A slot, as declared.
#[derive(Clone, Copy, Debug)]
pub struct SlotDeclaration {
    /// Its name.
    pub name: &'static str,
    /// `sql`, `storage`, `tool` or `key`.
    pub capability: &'static str,
    /// The accesses asked for.
    pub accesses: &'static [&'static str],
    /// Why.
    pub purpose: &'static str,
    /// Whether the procedure does something useful without it.
    pub optional: bool,
}

/// What the `#[parameters]` attribute implements: parameters that are an object and refuse unknown names.
pub trait Parameters: Sized {
    /// Their JSON Schema (2020-12).
    fn schema() -> String;

    /// Out of JSON, with ranges checked.
    ///
    /// # Errors
    /// What is wrong, naming the parameter.
    fn read(json: &str) -> Result<Self, String>;
}

/// For a procedure that has no parameters.
impl Parameters for () {
    fn schema() -> String {
        r#"{"type":"object","properties":{},"additionalProperties":false}"#.to_owned()
    }

    fn read(json: &str) -> Result<Self, String> {
        let given: serde_json::Map<String, serde_json::Value> = from_json(json)?;
        match given.keys().next() {
            Some(name) => Err(format!("unknown parameter `{name}`: this procedure has none")),
            None => Ok(()),
        }
    }
}

/// For `#[parameters]`.
#[doc(hidden)]
pub fn from_json<T: DeserializeOwned>(json: &str) -> Result<T, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

/// What [`procedure!`](crate::procedure) implements.
pub trait Procedure: 'static {
    /// Its parameters.
    type Parameters: Parameters;
    /// Its report's data.
    type Data: Serialize + JsonSchema;
    /// What it says of itself.
    const DECLARATION: Declaration;
    /// Examples that work as they stand, the plainest first.
    fn examples() -> Vec<(&'static str, serde_json::Value)>;
    /// Run it.
    fn run(context: Context, parameters: Self::Parameters) -> impl Future<Output = Outcome<Self::Data>>;
}

/// A type's JSON Schema (2020-12), with everything inline.
#[doc(hidden)]
pub fn schema<T: JsonSchema>() -> String {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    unwrap_descriptions(&mut schema);
    schema.to_string()
}

/// Doc comments are wrapped where the source's lines end; a description is wrapped where it is shown.
fn unwrap_descriptions(schema: &mut serde_json::Value) {
    match schema {
        serde_json::Value::Object(members) => {
            if let Some(serde_json::Value::String(text)) = members.get_mut("description") {
                *text =
                    text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect::<Vec<_>>().join("\n\n");
            }
            members.values_mut().for_each(unwrap_descriptions);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(unwrap_descriptions),
        _ => {}
    }
}

/// The export `describe`.
#[doc(hidden)]
pub fn describe<P: Procedure>() -> wit::Descriptor {
    let Declaration { name, version, summary, description, risk, confirmation, idempotent, slots } = P::DECLARATION;
    wit::Descriptor {
        name: name.to_owned(),
        version: version.to_owned(),
        summary: summary.to_owned(),
        description: description.to_owned(),
        parameters: P::Parameters::schema(),
        report: schema::<P::Data>(),
        slots: slots
            .iter()
            .map(|slot| wit::Slot {
                name: slot.name.to_owned(),
                capability: slot.capability.to_owned(),
                accesses: slot.accesses.iter().map(|access| (*access).to_owned()).collect(),
                purpose: slot.purpose.to_owned(),
                optional: slot.optional,
            })
            .collect(),
        risk,
        confirmation: confirmation.map(ToOwned::to_owned),
        idempotent,
        examples: P::examples()
            .into_iter()
            .map(|(title, parameters)| wit::Example { title: title.to_owned(), parameters: parameters.to_string() })
            .collect(),
    }
}

/// The parameters out of their JSON.
pub(crate) fn read_parameters<P: Parameters>(json: &str) -> Result<P> {
    P::read(json).map_err(|problem| Error::new(format!("the parameters are not valid: {problem}")))
}

/// For a component that makes its exports by hand: the run's context.
#[doc(hidden)]
pub fn context() -> Context {
    Context::new()
}

/// For a component that makes its exports by hand: an error as the contract has it.
#[doc(hidden)]
pub fn failure(error: Error) -> crate::bindings::Failure {
    error.into_failure()
}

/// The export `run`.
#[doc(hidden)]
pub async fn run<P: Procedure>(parameters: String) -> Result<wit::Report, wit::Failure> {
    let parameters = read_parameters::<P::Parameters>(&parameters).map_err(Error::into_failure)?;
    match P::run(Context::new(), parameters).await {
        Ok(report) => Ok(report.into_wit()),
        Err(error) => Err(error.into_failure()),
    }
}
