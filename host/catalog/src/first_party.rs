//! The plugins in the binary.

/// One of them.
pub(crate) struct FirstParty {
    pub(crate) name: &'static str,
    pub(crate) digest: &'static str,
    pub(crate) size: usize,
    compressed: &'static [u8],
}

/// All, by name; written by the build script.
pub(crate) static FIRST_PARTY: &[FirstParty] = include!(concat!(env!("OUT_DIR"), "/first_party.rs"));

/// A component, decompressed and checked against its digest.
pub(crate) fn component(name: &str) -> Option<Vec<u8>> {
    let plugin = FIRST_PARTY.iter().find(|p| p.name == name)?;
    let component = zstd::bulk::decompress(plugin.compressed, plugin.size).ok()?;
    (rota_sandbox::digest(&component) == plugin.digest).then_some(component)
}
