//! What a component imports and exports, read before anything is compiled.

use crate::prepare::PREPARE;
use rota_contract::CONTRACT_VERSION;
use wasmparser::{Chunk, Encoding, Parser, Payload};

/// An import of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import(pub String);

/// What a plugin imports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// Interfaces of `rota:runbook` (`sql`, `storage` ...), without package and version.
    pub interfaces: Vec<String>,
    /// Whether it exports `compensate` beside `describe` and `run`.
    pub undoable: bool,
    /// Whether it exports `prepare`, which counts for the host's own alone.
    pub(crate) prepares: bool,
}

/// Why bytes are not a plugin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAPlugin {
    /// Not WebAssembly.
    #[error("this is not a WebAssembly component (it does not begin with \\0asm)")]
    NotWasm,
    /// A core module.
    #[error(
        "this is a core WebAssembly module, not a component; build it for the target wasm32-wasip2 (cargo build --target wasm32-wasip2), or wrap it with `wasm-tools component new`"
    )]
    CoreModule,
    /// Cut or damaged.
    #[error("the component is cut off or damaged at byte {offset}: {message}")]
    Damaged {
        /// Where.
        offset: usize,
        /// What is wrong there.
        message: String,
    },
    /// Imports that no host of this version gives.
    #[error("the plugin imports what the sandbox does not offer: {}; a plugin may import the interfaces of rota:runbook@{CONTRACT_VERSION} and WASI 0.2 only", .0.join(", "))]
    Imports(Vec<String>),
    /// More imports than a plugin has.
    #[error("the component has more than {MOST_IMPORTS} imports; a plugin has about 40 at most")]
    TooManyImports,
    /// Built for another version of the contract.
    #[error(
        "the plugin was built for {wanted}, but this host speaks rota:runbook@{CONTRACT_VERSION}; build it against the folder wit/ of this version, or run it on a host that speaks the other"
    )]
    ContractVersion {
        /// The import that says so.
        wanted: String,
    },
    /// No procedure.
    #[error("the component does not export {}; a plugin exports `describe` and `run` of the world rota:runbook/procedure", .0.join(" and "))]
    Exports(Vec<String>),
}

/// Imports that are read of a component: the contract has 11 interfaces, WASI 0.2 about 30.
const MOST_IMPORTS: usize = 500;

/// Interfaces that the contract has; what a plugin imports beyond them is refused.
const INTERFACES: [&str; 11] =
    ["types", "reports", "run", "sql", "storage", "tools", "process", "bytes", "cache", "kubernetes", "jetstream"];

/// WASI packages that are offered, empty: no folder, no address, no environment, no arguments.
const WASI: [&str; 6] = ["wasi:cli", "wasi:clocks", "wasi:filesystem", "wasi:io", "wasi:random", "wasi:sockets"];

/// Read a component's imports and exports and refuse what is not a plugin.
///
/// # Errors
/// [`NotAPlugin`], which names each import that is refused.
pub fn inspect(bytes: &[u8]) -> Result<Inspected, NotAPlugin> {
    if !bytes.starts_with(b"\0asm") {
        return Err(NotAPlugin::NotWasm);
    }
    let (imports, exports) = surface(bytes)?;
    let mut interfaces = Vec::new();
    let mut refused = Vec::new();
    for import in imports {
        match classify(&import)? {
            Some(Offered::Contract(interface)) => interfaces.push(interface),
            Some(Offered::Wasi) => {}
            None => refused.push(format!("`{}`", shown(&import))),
        }
    }
    if !refused.is_empty() {
        let more = refused.len().saturating_sub(20);
        refused.truncate(20);
        if more > 0 {
            refused.push(format!("and {more} more"));
        }
        return Err(NotAPlugin::Imports(refused));
    }
    let missing: Vec<String> = ["describe", "run"]
        .iter()
        .filter(|name| !exports.iter().any(|e| e == *name))
        .map(|name| format!("`{name}`"))
        .collect();
    if !missing.is_empty() {
        return Err(NotAPlugin::Exports(missing));
    }
    let undoable = exports.iter().any(|export| export == "compensate");
    let prepares = exports.iter().any(|export| export == PREPARE);
    Ok(Inspected { interfaces, undoable, prepares })
}

enum Offered {
    Contract(String),
    Wasi,
}

fn classify(import: &str) -> Result<Option<Offered>, NotAPlugin> {
    let (name, version) = import.split_once('@').unwrap_or((import, ""));
    if let Some(interface) = name.strip_prefix("rota:runbook/") {
        if version != CONTRACT_VERSION {
            return Err(NotAPlugin::ContractVersion { wanted: shown(import) });
        }
        return Ok(INTERFACES.contains(&interface).then(|| Offered::Contract(interface.to_owned())));
    }
    let offered =
        name.split_once('/').is_some_and(|(package, _)| WASI.contains(&package)) && version.starts_with("0.2.");
    Ok(offered.then_some(Offered::Wasi))
}

/// A name from a foreign file, fit to be printed.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(120).collect()
}

/// The names of the top level's imports (instances and functions; types do nothing) and exports.
fn surface(bytes: &[u8]) -> Result<(Vec<String>, Vec<String>), NotAPlugin> {
    let damaged = |error: wasmparser::BinaryReaderError| NotAPlugin::Damaged {
        offset: error.offset(),
        message: error.message().to_string(),
    };
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let mut parser = Parser::new(0);
    let mut offset = 0;
    loop {
        let rest = &bytes[offset..];
        let (consumed, payload) = match parser.parse(rest, true).map_err(damaged)? {
            Chunk::Parsed { consumed, payload } => (consumed, payload),
            Chunk::NeedMoreData(_) => {
                return Err(NotAPlugin::Damaged { offset: bytes.len(), message: "the file ends early".into() });
            }
        };
        offset += consumed;
        match payload {
            Payload::Version { encoding: Encoding::Module, .. } => return Err(NotAPlugin::CoreModule),
            // What is nested has imports of its own, which are not the plugin's: step over it.
            Payload::ModuleSection { unchecked_range, .. } | Payload::ComponentSection { unchecked_range, .. } => {
                if unchecked_range.end > bytes.len() {
                    return Err(NotAPlugin::Damaged { offset: bytes.len(), message: "the file ends early".into() });
                }
                offset = unchecked_range.end;
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    let import = import.map_err(damaged)?;
                    if !matches!(import.ty, wasmparser::ComponentTypeRef::Type(_)) {
                        imports.push(import.name.name.to_owned());
                        if imports.len() > MOST_IMPORTS {
                            return Err(NotAPlugin::TooManyImports);
                        }
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    exports.push(export.map_err(damaged)?.name.name.to_owned());
                }
            }
            Payload::End(_) => return Ok((imports, exports)),
            _ => {}
        }
    }
}
