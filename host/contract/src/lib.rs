//! The host's side of the contract `rota:runbook` (folder `wit/`): the types that all interfaces share, and the exports of a
//! procedure. The imports are bound by the capability crates, one interface each.

/// Generated from `wit/`.
mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package rota:host;

            world exports {
                use rota:runbook/types@0.1.0.{json};
                use rota:runbook/reports@0.1.0.{descriptor, report, failure};
                export describe: func() -> descriptor;
                export run: async func(parameters: json) -> result<report, failure>;
            }
        ",
        world: "rota:host/exports",
        imports: { default: trappable },
        exports: { default: async },
        additional_derives: [PartialEq, serde::Serialize, serde::Deserialize],
    });
}

/// Generated from `wit/`: the export that only procedures have that can undo.
mod undoing {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package rota:host-undo;

            world undo {
                use rota:runbook/types@0.1.0.{json};
                use rota:runbook/reports@0.1.0.{failure};
                export compensate: async func(name: string, state: json) -> result<_, failure>;
            }
        ",
        world: "rota:host-undo/undo",
        with: {
            "rota:runbook/types": crate::types,
            "rota:runbook/reports": crate::reports,
        },
        imports: { default: trappable },
        exports: { default: async },
    });
}

mod json;

pub use generated::rota::runbook::{reports, types};
pub use generated::{Exports as Procedure, ExportsPre as ProcedurePre};
pub use reports::{Descriptor, Failure, Report, Risk, Severity};
pub use types::{Error, Fault};
pub use undoing::{Undo as Undoable, UndoPre as UndoablePre};

/// The version of the contract that this host speaks: the version of the package in `wit/`.
pub const CONTRACT_VERSION: &str = "0.1.0";

impl Error {
    /// A short word for the case, as in `run --output json`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Denied(_) => "denied",
            Self::InvalidArgument(_) => "invalid-argument",
            Self::NotFound(_) => "not-found",
            Self::Conflict(_) => "conflict",
            Self::TimedOut(_) => "timed-out",
            Self::Cancelled => "cancelled",
            Self::Unavailable(_) => "unavailable",
            Self::Failed(_) => "failed",
            Self::Quota(_) => "quota",
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Denied(text) => write!(f, "denied: {text}"),
            Self::InvalidArgument(text)
            | Self::NotFound(text)
            | Self::Conflict(text)
            | Self::TimedOut(text)
            | Self::Unavailable(text)
            | Self::Quota(text) => f.write_str(text),
            Self::Cancelled => f.write_str("the call was cancelled"),
            Self::Failed(fault) => match &fault.detail {
                Some(detail) => write!(f, "{} ({}; {})", fault.message, fault.code, detail),
                None => write!(f, "{} ({})", fault.message, fault.code),
            },
        }
    }
}

impl std::error::Error for Error {}
