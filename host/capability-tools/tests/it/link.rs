//! The capability fits into a linker, once.
#![allow(clippy::unwrap_used, reason = "tests")]

use rota_capability::{Capability as _, Guest, Services};
use rota_capability_tools::{Settings, Shared, Tools};
use wasmtime::component::Linker;

#[test]
fn the_interfaces_are_linked_once() {
    let engine = wasmtime::Engine::default();
    let mut linker: Linker<Guest> = Linker::new(&engine);
    let folder = tempfile::tempdir().unwrap();
    let tools = Tools::new(Settings { folder: folder.path().into(), ..Settings::default() });
    tools.link(&mut linker).unwrap();
    assert!(tools.link(&mut linker).is_err());
    let mut services = Services::default();
    tools.provide(&mut services);
    assert!(services.get::<Shared>().is_some());
    assert_eq!((tools.name(), tools.interfaces()), ("tool", &["process", "tools"][..]));
}

#[test]
fn leftovers_of_a_dead_host_are_swept_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let left = folder.path().join("rota-tool-4194999-77-bb");
    std::fs::create_dir(&left).unwrap();
    Tools::new(Settings { folder: folder.path().into(), ..Settings::default() }).provide(&mut Services::default());
    assert!(!left.exists());
}
