//! Components that a host must refuse, written byte by byte: nothing else is in them.

/// Not WebAssembly at all.
pub const NOT_WASM: &[u8] = b"#!/bin/sh\necho hello\n";

/// A core module, empty and valid.
pub const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// A component with nothing in it: no exports.
pub const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

/// A component that imports an empty instance of each name, and exports nothing.
#[must_use]
pub fn importing(names: &[&str]) -> Vec<u8> {
    // Section 7, types: one, an instance type (0x42) without declarations.
    let types = [1, 0x42, 0];
    // Section 10, imports: each a plain name (0x00) and an instance (0x05) of type 0.
    let mut imports = Vec::new();
    unsigned(&mut imports, names.len());
    for name in names {
        imports.push(0);
        unsigned(&mut imports, name.len());
        imports.extend_from_slice(name.as_bytes());
        imports.extend_from_slice(&[5, 0]);
    }
    let mut component = EMPTY.to_vec();
    section(&mut component, 7, &types);
    section(&mut component, 10, &imports);
    component
}

/// The probe, built for another version of the contract. The versions are of one length, so nothing else moves.
#[must_use]
pub fn of_version(version: &str) -> Vec<u8> {
    const OURS: &[u8] = b"@0.1.0";
    let other = format!("@{version}");
    assert_eq!(other.len(), OURS.len(), "a version of the same length");
    let mut bytes = super::probe::BYTES.to_vec();
    let mut at = 0;
    while let Some(found) = find(&bytes[at..], b"rota:runbook/") {
        let name = at + found;
        let end = bytes.len().min(name + 60);
        if let Some(version) = find(&bytes[name..end], OURS) {
            bytes[name + version..name + version + OURS.len()].copy_from_slice(other.as_bytes());
        }
        at = name + 1;
    }
    bytes
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn section(component: &mut Vec<u8>, id: u8, content: &[u8]) {
    component.push(id);
    unsigned(component, content.len());
    component.extend_from_slice(content);
}

/// LEB128.
fn unsigned(into: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0x7f);
        value >>= 7;
        into.push(if value == 0 { low } else { low | 0x80 });
        if value == 0 {
            return;
        }
    }
}

/// A component that exports what a plugin exports, and whose functions take long to compile: so many locals, all of them alive over so many
/// branches, in so many functions.
#[must_use]
pub fn slow_to_compile(locals: usize, branches: usize, functions: usize) -> Vec<u8> {
    let mut code = vec![1];
    unsigned(&mut code, locals);
    code.push(0x7f); // so many i32
    for branch in 0..branches {
        let (one, other) = (branch % locals, (branch * 7 + 1) % locals);
        code.extend_from_slice(&[0x03, 0x40]); // loop
        for local in [one, other] {
            code.push(0x20); // local.get
            unsigned(&mut code, local);
        }
        code.push(0x6a); // i32.add
        code.push(0x22); // local.tee
        unsigned(&mut code, other);
        code.extend_from_slice(&[0x0d, 0x00, 0x0b]); // br_if 0, end
    }
    code.push(0x0b);
    exporting(EMPTY.to_vec(), 0, &module(&code, functions))
}

/// A component that exports what a plugin exports, and whose types are lists of lists of lists, so deep.
#[must_use]
pub fn deep_types(depth: usize) -> Vec<u8> {
    let mut types = Vec::new();
    unsigned(&mut types, depth);
    types.extend_from_slice(&[0x70, 0x7f]); // list of bool
    for below in 0..depth - 1 {
        types.push(0x70);
        unsigned(&mut types, below);
    }
    let mut component = EMPTY.to_vec();
    section(&mut component, 7, &types);
    exporting(component, depth, &module(&[0, 0x0b], 1))
}

/// The same with components within components, so deep.
#[must_use]
pub fn deep_components(depth: usize) -> Vec<u8> {
    let mut component = EMPTY.to_vec();
    for _ in 0..depth {
        let mut outer = EMPTY.to_vec();
        section(&mut outer, 4, &component);
        component = outer;
    }
    exporting(component, 0, &module(&[0, 0x0b], 1))
}

/// A module of functions with this code, the first of which is exported as `f`.
fn module(code: &[u8], functions: usize) -> Vec<u8> {
    let mut types = Vec::new();
    unsigned(&mut types, functions);
    types.resize(types.len() + functions, 0);
    let mut bodies = Vec::new();
    unsigned(&mut bodies, functions);
    for _ in 0..functions {
        unsigned(&mut bodies, code.len());
        bodies.extend_from_slice(code);
    }
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    section(&mut module, 1, &[1, 0x60, 0, 0]);
    section(&mut module, 3, &types);
    section(&mut module, 7, &[1, 1, b'f', 0, 0]);
    section(&mut module, 10, &bodies);
    module
}

/// A component, which has so many types, that now exports the function `f` of a module under the names that a plugin's have.
fn exporting(mut component: Vec<u8>, types: usize, module: &[u8]) -> Vec<u8> {
    section(&mut component, 1, module);
    section(&mut component, 2, &[1, 0, 0, 0]); // an instance of it
    section(&mut component, 6, &[1, 0x00, 0x00, 0x01, 0, 1, b'f']); // its function
    section(&mut component, 7, &[1, 0x40, 0, 0x01, 0x00]); // () -> ()
    let mut lifted = vec![1, 0x00, 0x00, 0, 0];
    unsigned(&mut lifted, types);
    section(&mut component, 8, &lifted);
    let mut exports = vec![2];
    for name in ["describe", "run"] {
        exports.push(0);
        unsigned(&mut exports, name.len());
        exports.extend_from_slice(name.as_bytes());
        exports.extend_from_slice(&[0x01, 0, 0]);
    }
    section(&mut component, 11, &exports);
    component
}
