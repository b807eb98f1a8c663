//! `wit-lint NEW [OLD]`: whether a WIT package is documented throughout, and, with an older version of it,
//! whether plugins built for that still work.
//!
//! An item that went away, an item of another shape, or a further export that every plugin would have
//! to have breaks plugins, and needs a version that does not claim to be compatible (0.1 -> 0.2). A further
//! function, type or interface breaks nobody: hosts give more than plugins ask for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use semver::Version;
use wit_parser::{
    Docs, Function, FunctionKind, Handle, InterfaceId, PackageId, Resolve, Type, TypeDef, TypeDefKind, TypeOwner,
    WorldItem, WorldKey,
};

/// Checks a WIT package.
#[derive(Parser)]
struct Arguments {
    /// The folder of the package.
    new: PathBuf,
    /// The folder of the version that it must not break.
    old: Option<PathBuf>,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let new = Package::read(&arguments.new)?;
    let mut problems: Vec<String> = new.undocumented.iter().map(|item| format!("{item} has no doc comment")).collect();
    if let Some(old) = &arguments.old {
        problems.extend(breaks(&Package::read(old)?, &new));
    }
    for problem in &problems {
        eprintln!("wit-lint: {problem}");
    }
    println!("wit-lint: {} {}: {} items, {} problems", new.name, new.version, new.items.len(), problems.len());
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What in `new` breaks plugins that were built for `old`, unless its version says that it may.
fn breaks(old: &Package, new: &Package) -> Vec<String> {
    let mut problems = Vec::new();
    if old.name != new.name {
        problems.push(format!("the package was {} and is {}", old.name, new.name));
    }
    if new.version < old.version {
        problems.push(format!("the version went back from {} to {}", old.version, new.version));
    }
    if !compatible(&old.version, &new.version) {
        return problems;
    }
    let advice = format!("{} needs a version that is not compatible with {}", new.name, old.version);
    for (item, shape) in &old.items {
        match new.items.get(item) {
            None => problems.push(format!("{item} is gone: {advice}")),
            Some(now) if now != shape => problems.push(format!("{item} was `{shape}` and is `{now}`: {advice}")),
            Some(_) => {}
        }
    }
    for item in new.items.keys().filter(|item| is_export_of(item, old) && !old.items.contains_key(*item)) {
        problems.push(format!("{item} is new, and no plugin has it: {advice}"));
    }
    problems
}

/// Whether an item is an export of a world that the old version has: a world that is new has no plugins yet.
fn is_export_of(item: &str, old: &Package) -> bool {
    item.split_once(": export ").is_some_and(|(world, _)| old.items.contains_key(world))
}

/// Whether `new` claims that what was made for `old` works with it.
fn compatible(old: &Version, new: &Version) -> bool {
    if old.major > 0 || new.major > 0 { old.major == new.major } else { old.minor == new.minor }
}

/// A package, flattened: each item by its path, with its shape as text.
struct Package {
    name: String,
    version: Version,
    items: BTreeMap<String, String>,
    undocumented: Vec<String>,
}

impl Package {
    fn read(folder: &Path) -> anyhow::Result<Self> {
        let mut resolve = Resolve::default();
        let (id, _) = resolve.push_dir(folder).with_context(|| format!("{} does not parse", folder.display()))?;
        let name = &resolve.packages[id].name;
        let mut package = Self {
            name: format!("{}:{}", name.namespace, name.name),
            version: name.version.clone().with_context(|| format!("{} has no version", folder.display()))?,
            items: BTreeMap::new(),
            undocumented: Vec::new(),
        };
        package.flatten(&resolve, id);
        Ok(package)
    }

    fn flatten(&mut self, resolve: &Resolve, id: PackageId) {
        for (name, interface) in &resolve.packages[id].interfaces {
            self.item(format!("interface {name}"), "interface".to_owned(), &resolve.interfaces[*interface].docs);
            self.interface(resolve, &format!("interface {name}"), *interface);
        }
        for (name, world) in &resolve.packages[id].worlds {
            let world = &resolve.worlds[*world];
            self.item(format!("world {name}"), "world".to_owned(), &world.docs);
            for (direction, items) in [("import", &world.imports), ("export", &world.exports)] {
                for (key, item) in items {
                    let key = match key {
                        WorldKey::Name(key) => key.clone(),
                        WorldKey::Interface(interface) => resolve.id_of(*interface).unwrap_or_default(),
                    };
                    // Ids carry the version, which may differ.
                    let path = format!("world {name}: {direction} {}", key.split('@').next().unwrap_or_default());
                    match item {
                        WorldItem::Function(function) => self.item(path, signature(resolve, function), &function.docs),
                        WorldItem::Interface { id, .. } if resolve.interfaces[*id].name.is_none() => {
                            self.interface(resolve, &path, *id)
                        }
                        WorldItem::Interface { .. } => self.record(path, "interface".to_owned()),
                        WorldItem::Type { id, .. } => self.type_definition(resolve, &path, &resolve.types[*id]),
                    }
                }
            }
        }
    }

    fn interface(&mut self, resolve: &Resolve, path: &str, id: InterfaceId) {
        let interface = &resolve.interfaces[id];
        for (name, ty) in &interface.types {
            self.type_definition(resolve, &format!("{path}: {name}"), &resolve.types[*ty]);
        }
        for (name, function) in &interface.functions {
            self.item(format!("{path}: {name}"), signature(resolve, function), &function.docs);
        }
    }

    fn type_definition(&mut self, resolve: &Resolve, path: &str, definition: &TypeDef) {
        self.record(path.to_owned(), shape(resolve, &definition.kind));
        // `use other.{name}` is documented where it is defined.
        let used =
            matches!(&definition.kind, TypeDefKind::Type(Type::Id(id)) if resolve.types[*id].owner != definition.owner);
        if !used {
            self.document(path, &definition.docs);
        }
        match &definition.kind {
            TypeDefKind::Record(record) => {
                record.fields.iter().for_each(|part| self.document(&format!("{path}.{}", part.name), &part.docs))
            }
            TypeDefKind::Variant(variant) => {
                variant.cases.iter().for_each(|part| self.document(&format!("{path}.{}", part.name), &part.docs))
            }
            TypeDefKind::Enum(cases) => {
                cases.cases.iter().for_each(|part| self.document(&format!("{path}.{}", part.name), &part.docs))
            }
            TypeDefKind::Flags(flags) => {
                flags.flags.iter().for_each(|part| self.document(&format!("{path}.{}", part.name), &part.docs))
            }
            _ => {}
        }
    }

    fn item(&mut self, path: String, shape: String, docs: &Docs) {
        self.document(&path, docs);
        self.record(path, shape);
    }

    fn record(&mut self, path: String, shape: String) {
        self.items.insert(path, shape);
    }

    fn document(&mut self, path: &str, docs: &Docs) {
        if docs.contents.as_deref().is_none_or(|text| text.trim().is_empty()) {
            self.undocumented.push(path.to_owned());
        }
    }
}

fn signature(resolve: &Resolve, function: &Function) -> String {
    let kind = match function.kind {
        FunctionKind::Freestanding
        | FunctionKind::Method(_)
        | FunctionKind::Static(_)
        | FunctionKind::Constructor(_) => "func",
        FunctionKind::AsyncFreestanding | FunctionKind::AsyncMethod(_) | FunctionKind::AsyncStatic(_) => "async func",
    };
    let parameters: Vec<String> =
        function.params.iter().map(|param| format!("{}: {}", param.name, type_name(resolve, &param.ty))).collect();
    let result = function.result.as_ref().map(|ty| format!(" -> {}", type_name(resolve, ty))).unwrap_or_default();
    format!("{kind}({}){result}", parameters.join(", "))
}

fn type_name(resolve: &Resolve, ty: &Type) -> String {
    let Type::Id(id) = ty else { return format!("{ty:?}").to_lowercase() };
    let definition = &resolve.types[*id];
    match (&definition.name, &definition.kind) {
        // A `use`d type is the one that it names.
        (Some(_), TypeDefKind::Type(aliased @ Type::Id(inner))) if resolve.types[*inner].owner != definition.owner => {
            type_name(resolve, aliased)
        }
        (Some(name), _) => match definition.owner {
            TypeOwner::Interface(owner) => {
                format!("{}.{name}", resolve.interfaces[owner].name.as_deref().unwrap_or_default())
            }
            TypeOwner::World(_) | TypeOwner::None => name.clone(),
        },
        (None, kind) => shape(resolve, kind),
    }
}

fn optional(resolve: &Resolve, ty: Option<&Type>) -> String {
    ty.map_or_else(|| "_".to_owned(), |ty| type_name(resolve, ty))
}

/// A type's own shape; what it refers to by name appears by name.
fn shape(resolve: &Resolve, kind: &TypeDefKind) -> String {
    let name = |ty: &Type| type_name(resolve, ty);
    let list = |word: &str, parts: Vec<String>| format!("{word} {{ {} }}", parts.join(", "));
    match kind {
        TypeDefKind::Record(record) => {
            list("record", record.fields.iter().map(|field| format!("{}: {}", field.name, name(&field.ty))).collect())
        }
        TypeDefKind::Variant(variant) => list(
            "variant",
            variant
                .cases
                .iter()
                .map(|case| {
                    case.ty.as_ref().map_or_else(|| case.name.clone(), |ty| format!("{}({})", case.name, name(ty)))
                })
                .collect(),
        ),
        TypeDefKind::Enum(cases) => list("enum", cases.cases.iter().map(|case| case.name.clone()).collect()),
        TypeDefKind::Flags(flags) => list("flags", flags.flags.iter().map(|flag| flag.name.clone()).collect()),
        TypeDefKind::Resource => "resource".to_owned(),
        TypeDefKind::Handle(Handle::Own(id)) => name(&Type::Id(*id)),
        TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow<{}>", name(&Type::Id(*id))),
        TypeDefKind::Tuple(tuple) => format!("tuple<{}>", tuple.types.iter().map(name).collect::<Vec<_>>().join(", ")),
        TypeDefKind::Option(ty) => format!("option<{}>", name(ty)),
        TypeDefKind::Result(result) => {
            format!("result<{}, {}>", optional(resolve, result.ok.as_ref()), optional(resolve, result.err.as_ref()))
        }
        TypeDefKind::List(ty) => format!("list<{}>", name(ty)),
        TypeDefKind::Map(key, value) => format!("map<{}, {}>", name(key), name(value)),
        TypeDefKind::FixedLengthList(ty, length) => format!("list<{}, {length}>", name(ty)),
        TypeDefKind::Future(ty) => format!("future<{}>", optional(resolve, ty.as_ref())),
        TypeDefKind::Stream(ty) => format!("stream<{}>", optional(resolve, ty.as_ref())),
        TypeDefKind::Type(ty) => name(ty),
        TypeDefKind::Unknown => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGE: &str = "package rota:example@0.1.0;

        /// Things.
        interface things {
            /// A thing.
            record thing {
                /// Its name.
                name: string,
            }
            /// Something open.
            resource session {
                /// Opens.
                open: static async func(slot: string) -> result<session, string>;
                /// Asks.
                ask: async func(thing: thing) -> stream<thing>;
            }
        }

        /// A plugin.
        world procedure {
            import things;
            use things.{thing};
            /// Runs.
            export run: async func(thing: thing) -> string;
        }";

    fn package(text: &str) -> Package {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("package.wit"), text).unwrap();
        Package::read(folder.path()).unwrap()
    }

    fn problems(change: (&str, &str)) -> Vec<String> {
        assert!(PACKAGE.contains(change.0));
        breaks(&package(PACKAGE), &package(&PACKAGE.replace(change.0, change.1)))
    }

    #[test]
    fn every_item_and_its_parts_must_be_documented() {
        assert_eq!(package(PACKAGE).undocumented, Vec::<String>::new());
        let bare: String = PACKAGE.lines().filter(|line| !line.contains("///")).collect::<Vec<_>>().join("\n");
        assert_eq!(
            package(&bare).undocumented,
            [
                "interface things",
                "interface things: thing",
                "interface things: thing.name",
                "interface things: session",
                "interface things: [static]session.open",
                "interface things: [method]session.ask",
                "world procedure",
                "world procedure: export run",
            ]
        );
    }

    #[test]
    fn the_same_and_more_break_nobody() {
        assert_eq!(problems(("A thing.", "Some thing.")), Vec::<String>::new());
        assert_eq!(problems(("/// A thing.", "/// More.\nmore: func();\n/// A thing.")), Vec::<String>::new());
        let world =
            "/// A plugin.\nworld other { include procedure;\n/// Undoes.\nexport undo: func(); }\n/// A plugin.";
        assert_eq!(problems(("/// A plugin.", world)), Vec::<String>::new());
    }

    #[test]
    fn what_breaks_plugins_is_named() {
        for (change, item) in [
            (("name: string", "name: u32"), "thing was `record { name: string }` and is `record { name: u32 }`"),
            (("name: string,", "name: string,\n/// More.\nmore: u8,"), "thing was"),
            (("ask: async", "ask:"), "[method]session.ask was `async func"),
            (("slot: string", "slots: string"), "[static]session.open was"),
            (("-> stream<thing>", "-> stream<string>"), "[method]session.ask was"),
            (("/// Runs.", "/// Also.\nexport also: func();\n/// Runs."), "world procedure: export also is new"),
            (("export run:", "export runs:"), "world procedure: export run is gone"),
        ] {
            let problems = problems(change);
            assert!(problems.iter().any(|problem| problem.contains(item)), "{change:?}: {problems:?}");
        }
    }

    #[test]
    fn a_version_that_claims_nothing_may_break() {
        let broken = PACKAGE.replace("name: string", "name: u32");
        let bumped = |version: &str| breaks(&package(PACKAGE), &package(&broken.replace("0.1.0", version)));
        assert_eq!(bumped("0.2.0"), Vec::<String>::new());
        assert_eq!(bumped("1.0.0"), Vec::<String>::new());
        assert_eq!(bumped("0.1.1").len(), 1);
        assert!(bumped("0.0.9")[0].contains("went back"));
    }
}
