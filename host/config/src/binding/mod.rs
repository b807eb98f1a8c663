//! Bindings: connections that the operator configured, by kind.

mod ad_hoc;
mod cache;
mod jetstream;
mod key;
mod kubernetes;
mod place;
mod sql;
mod storage;
mod tool;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

pub(crate) use place::settle;
pub(crate) use sql::target_of;

pub use ad_hoc::{AdHocError, BindArgument};
pub use cache::{CacheBinding, CacheMode, CacheTarget};
pub use jetstream::{JetstreamBinding, JetstreamLogin, JetstreamTarget};
pub use key::KeyBinding;
pub use kubernetes::{KubernetesBinding, KubernetesRule};
pub use place::{ClusterRef, JobPlace, PodPlace, SecretVariable, Through, ToolPlace};
pub use sql::{SqlBinding, SqlHost, SqlTarget, Tls, TlsMode};
pub use storage::{BucketService, StorageBinding, StorageLocation, StorageTarget};
pub use tool::{ArgumentRule, ArgumentRuleError, Program, ToolBinding, ToolProfile};

use crate::access::{Access, BindingKind};
use crate::decode::{Decode, Fields, Reader};
use crate::nearest::{advice, list};
use crate::redact::quoted;
use crate::tree::{Node, Origin, join};

/// A named connection. Only the operator knows its address and secret; a plugin knows its slot.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Binding {
    /// A PostgreSQL server.
    Sql(SqlBinding),
    /// A bucket or a folder.
    Storage(StorageBinding),
    /// A program.
    Tool(ToolBinding),
    /// An age identity.
    Key(KeyBinding),
    /// A cache.
    Cache(CacheBinding),
    /// A Kubernetes cluster.
    Kubernetes(KubernetesBinding),
    /// NATS JetStream.
    Jetstream(JetstreamBinding),
}

impl Binding {
    /// What it connects to.
    pub fn kind(&self) -> BindingKind {
        match self {
            Self::Sql(_) => BindingKind::Sql,
            Self::Storage(_) => BindingKind::Storage,
            Self::Tool(_) => BindingKind::Tool,
            Self::Key(_) => BindingKind::Key,
            Self::Cache(_) => BindingKind::Cache,
            Self::Kubernetes(_) => BindingKind::Kubernetes,
            Self::Jetstream(_) => BindingKind::Jetstream,
        }
    }

    /// The most that a grant may allow on it, whatever a job or a command says.
    pub fn ceiling(&self) -> &[Access] {
        let ceiling = match self {
            Self::Sql(binding) => &binding.access,
            Self::Storage(binding) => &binding.access,
            Self::Cache(binding) => &binding.access,
            Self::Kubernetes(binding) => &binding.access,
            Self::Jetstream(binding) => &binding.access,
            Self::Tool(_) | Self::Key(_) => &None,
        };
        ceiling.as_deref().unwrap_or(self.kind().accesses())
    }
}

impl Binding {
    /// The binding of the cluster that it leads through, or runs in.
    pub fn cluster(&self) -> Option<&crate::BindingName> {
        match self {
            Self::Tool(tool) => tool.place.as_ref().and_then(ToolPlace::cluster).map(ClusterRef::name),
            Self::Sql(sql) => sql.through.as_ref().map(|through| through.cluster.name()),
            _ => None,
        }
    }

    /// The most runs that hold it at once, on all hosts together; none if there is no such bound.
    pub fn concurrency(&self) -> Option<u32> {
        match self {
            Self::Sql(binding) => binding.concurrency,
            Self::Storage(binding) => binding.concurrency,
            Self::Tool(binding) => binding.concurrency,
            Self::Key(binding) => binding.concurrency,
            Self::Cache(binding) => binding.concurrency,
            Self::Kubernetes(binding) => binding.concurrency,
            Self::Jetstream(binding) => binding.concurrency,
        }
    }
}

impl Decode for Binding {
    const WANTED: &'static str = "a table";

    fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
        let mut fields = reader.fields(at, node)?;
        let kind = kind(&mut fields)?;
        let binding = match kind {
            BindingKind::Sql => SqlBinding::read(&mut fields).map(Self::Sql),
            BindingKind::Storage => StorageBinding::read(&mut fields).map(Self::Storage),
            BindingKind::Tool => ToolBinding::read(&mut fields).map(Self::Tool),
            BindingKind::Key => KeyBinding::decode_fields(&mut fields).map(Self::Key),
            BindingKind::Cache => CacheBinding::read(&mut fields).map(Self::Cache),
            BindingKind::Kubernetes => KubernetesBinding::read(&mut fields).map(Self::Kubernetes),
            BindingKind::Jetstream => JetstreamBinding::read(&mut fields).map(Self::Jetstream),
        };
        fields.finish();
        binding
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<Self>()
    }
}

impl JsonSchema for Binding {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Binding".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let of = |kind: BindingKind, mut schema: Schema| {
            if let Some(keys) = schema.get_mut("properties").and_then(serde_json::Value::as_object_mut) {
                keys.insert("kind".to_owned(), serde_json::json!({ "const": kind.as_str() }));
            }
            let required = schema.get("required").and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
            let required = std::iter::once("kind".into()).chain(required).collect::<serde_json::Value>();
            schema.insert("required".to_owned(), required);
            schema
        };
        let kinds = [
            of(BindingKind::Sql, SqlBinding::json_schema(generator)),
            of(BindingKind::Storage, StorageBinding::json_schema(generator)),
            of(BindingKind::Tool, ToolBinding::json_schema(generator)),
            of(BindingKind::Key, KeyBinding::json_schema(generator)),
            of(BindingKind::Cache, CacheBinding::json_schema(generator)),
            of(BindingKind::Kubernetes, KubernetesBinding::json_schema(generator)),
            of(BindingKind::Jetstream, JetstreamBinding::json_schema(generator)),
        ];
        json_schema!({ "description": "A named connection that the operator configures.", "oneOf": kinds })
    }
}

fn kind(fields: &mut Fields<'_>) -> Option<BindingKind> {
    let (reader, at) = (fields.reader, join(&fields.at, "kind"));
    let kinds: Vec<&str> = BindingKind::ALL.iter().map(|kind| kind.as_str()).collect();
    let Some(entry) = fields.take("kind") else {
        let message = format!("{} needs the key \"kind\"", fields.at);
        return reader.refuse_with(&fields.origin, message, format!("the kinds are {}", list(&kinds)));
    };
    let word = reader.text(&at, &entry.node, BindingKind::WANTED)?;
    match word.parse() {
        Ok(kind) => Some(kind),
        Err(_) => {
            let message = format!("{at}: {} is not a kind of binding", quoted(&word));
            reader.refuse_with(&entry.node.origin, message, advice(&word, &kinds, "kinds"))
        }
    }
}

/// Reports accesses that a kind of binding does not have.
pub(crate) fn check_accesses(reader: &Reader, at: &str, origin: &Origin, kind: BindingKind, accesses: &[Access]) {
    let words = kind.access_words();
    for access in accesses.iter().filter(|access| !kind.accesses().contains(access)) {
        let message = format!("{at}: a {kind} binding has no access \"{access}\"");
        let _: Option<()> = reader.refuse_with(origin, message, format!("it has {}", list(&words)));
    }
}
