//! Write procedures for Rota.
//!
//! A procedure is one small file: parameters, what it reports, the slots it needs, and a function.
//!
//! ```no_run
//! use rota_sdk::prelude::*;
//!
//! procedure! {
//!     name: "table-count",
//!     summary: "Counts the tables of a schema.",
//!     description: "Counts the tables of a schema, and warns where there are none.",
//!     risk: observe,
//!     idempotent: true,
//!     slots: { database: sql [read] "Reads the catalog." },
//!     parameters: Parameters,
//!     report: Data,
//!     run
//! }
//!
//! #[parameters]
//! pub struct Parameters {
//!     /// The schema to look at.
//!     #[parameter(default = "public".to_owned())]
//!     schema: String,
//! }
//!
//! #[data]
//! pub struct Data {
//!     /// How many tables there are.
//!     tables: i64,
//! }
//!
//! async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
//!     let mut session = cx.database().open().await?;
//!     let tables: i64 = session
//!         .query_one("select count(*) from pg_catalog.pg_tables where schemaname = $1", params![parameters.schema])
//!         .await?;
//!     let mut report = Report::new();
//!     report.summary(format!("{tables} tables in {}", parameters.schema));
//!     if tables == 0 {
//!         report.warning(format!("{}: no tables", parameters.schema)).detail("The schema is empty or does not exist.");
//!     }
//!     Ok(report.data(Data { tables }))
//! }
//! # fn main() {}
//! ```
//!
//! The same code compiles natively, where a [`mock`] host answers: `cargo test` needs no servers.
//! docs/writing-a-plugin.md goes through it step by step.

extern crate self as rota_sdk;

pub mod bindings;
mod bytes;
pub mod cache;
pub mod cluster;
mod concurrent;
mod context;
mod durable;
mod error;
pub mod jetstream;
mod log;
#[cfg(not(target_arch = "wasm32"))]
pub mod mock;
mod pipeline;
pub mod postgres;
mod procedure;
mod report;
mod slots;
pub mod sql;
pub mod storage;
pub mod text;
mod time;
pub mod tools;

/// The host's functions: the contract's imports on wasm, the mock natively. Both have the same names and signatures.
#[cfg(target_arch = "wasm32")]
pub(crate) use bindings::rota::runbook as host;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use mock::host;

pub use bindings::rota::runbook::run::{Level, MetricKind, RunInfo, RunMode as Mode, Trigger};
pub use bindings::rota::runbook::types::{Error as HostError, Fault};
#[cfg(target_arch = "wasm32")]
pub use bytes::ByteWriter;
pub use bytes::{ByteStream, Ending, Passed, Recipients};
pub use concurrent::{each, join};
pub use context::Context;
pub use durable::{
    Compensation, Doubt, EffectOutcome, Kept, OpenStep, RecordedEffect, Step, StepCall, Undo, Undoable, Undoes,
};
pub use error::{Error, ErrorContext, Result};
pub use log::{log, progress};
pub use pipeline::{Piped, Pipeline};
pub use procedure::{Declaration, Outcome, Parameters, Procedure, Risk, SlotDeclaration};
pub use report::{Bytes, Cell, FindingBuilder, IntoCell, Ratio, Report, Seconds, Severity, TableBuilder};
pub use rota_sdk_macros::{FromRow, data, parameters, procedure};
pub use slots::{CacheSlot, ClusterSlot, JetstreamSlot, KeySlot, SqlSlot, StorageSlot, ToolSlot};
pub use time::Timestamp;

/// What a procedure's file imports with one line.
pub mod prelude {
    pub use crate::cache::Cache;
    pub use crate::jetstream::JetStream;
    pub use crate::sql::{Quoted, Row, Session, Sql, Transaction};
    pub use crate::storage::Bucket;
    pub use crate::{ByteStream, Pipeline};
    pub use crate::{
        Bytes, Error, ErrorContext, FromRow, Mode, Outcome, Ratio, Report, Result, Seconds, Severity, Step, Timestamp,
        Undo, data, join, parameters, procedure, progress,
    };
    pub use crate::{cells, debug, info, params, sql, warn};
    pub use serde_json::{Value as Json, json};
}

/// For the macros only.
#[doc(hidden)]
pub mod __private {
    pub use crate::durable::{compensate, register};
    pub use crate::procedure::{context, describe, failure, from_json, run, schema};
    pub use crate::sql::placeholders;
    pub use schemars;
    pub use serde;
    pub use serde_json;
}

/// Export a procedure from the component. [`procedure!`] does it.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($plugin:ident) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "the component's exports are foreign functions")]
        mod __component {
            struct Component;

            impl $crate::bindings::Guest for Component {
                fn describe() -> $crate::bindings::Descriptor {
                    $crate::__private::describe::<super::$plugin>()
                }

                async fn run(parameters: ::std::string::String) -> ::core::result::Result<$crate::bindings::Report, $crate::bindings::Failure> {
                    $crate::__private::run::<super::$plugin>(parameters).await
                }
            }

            $crate::bindings::__export_procedure!(Component with_types_in $crate::bindings);
        }
    };
}

/// The same, of a procedure that can undo: only such a component exports `compensate`.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_undoable {
    ($plugin:ident) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "the component's exports are foreign functions")]
        mod __component {
            struct Component;

            impl $crate::bindings::undoable::Guest for Component {
                fn describe() -> $crate::bindings::Descriptor {
                    $crate::__private::describe::<super::$plugin>()
                }

                async fn run(parameters: ::std::string::String) -> ::core::result::Result<$crate::bindings::Report, $crate::bindings::Failure> {
                    $crate::__private::run::<super::$plugin>(parameters).await
                }

                async fn compensate(name: ::std::string::String, state: ::std::string::String) -> ::core::result::Result<(), $crate::bindings::Failure> {
                    $crate::__private::compensate::<super::$plugin>(name, state).await
                }
            }

            $crate::bindings::undoable::__export_undoable_procedure!(Component with_types_in $crate::bindings::undoable);
        }
    };
}
