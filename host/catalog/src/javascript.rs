//! A procedure written in JavaScript, as a component: the first-party component `script` with the source in the place that it keeps for one
//! (plugins/script/src/program.rs). Nothing is compiled or run, so it needs no tools, and the same source gives the same bytes.

use crate::first_party;
use rota_sandbox::{Base, LoadError, Plugin, Sandbox};
use std::sync::Arc;

/// How long a source may be, in bytes.
pub const LONGEST_JAVASCRIPT: usize = 512 << 10;
/// Where the place begins, as the component has it.
const MARK: &[u8; 32] = b"<rota:javascript-program:1>\0\0\0\0\x01";

/// Why no component could be made of a source.
#[derive(Debug, thiserror::Error)]
pub enum JavascriptError {
    /// Nothing is in it.
    #[error("the source is empty")]
    Empty,
    /// It is too long.
    #[error("the source has {bytes} bytes, and may have {LONGEST_JAVASCRIPT}: leave out what it does not need")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// This build of rota is not as it should be.
    #[error("this rota holds no component for JavaScript, or a damaged one: install it again")]
    NoPlace,
}

/// Whether a component is one of those that [`javascript`] makes. They all import what any script could use.
pub fn is_javascript(component: &[u8]) -> bool {
    let place = memchr::memmem::find(component, MARK);
    place
        .and_then(|place| component.get(place + MARK.len()..place + MARK.len() + 4))
        .is_some_and(|length| length != [0; 4])
}

/// The component of a source: an ES module whose default export is the procedure.
///
/// # Errors
/// When the source is empty or too long. Mistakes in it are found when the component is loaded.
pub fn javascript(source: &str) -> Result<Vec<u8>, JavascriptError> {
    if source.trim().is_empty() {
        return Err(JavascriptError::Empty);
    }
    let length = match u32::try_from(source.len()) {
        Ok(length) if source.len() <= LONGEST_JAVASCRIPT => length,
        _ => return Err(JavascriptError::TooLong { bytes: source.len() }),
    };
    let Base { mut component, place } = empty().ok_or(JavascriptError::NoPlace)?;
    let text = place.start + MARK.len() + 4;
    component[place.start + MARK.len()..text].copy_from_slice(&length.to_le_bytes());
    component[text..text + source.len()].copy_from_slice(source.as_bytes());
    Ok(component)
}

/// The component without a source, and the place for one, which begins with the mark.
fn empty() -> Option<Base> {
    let component = first_party::component("script")?;
    let mut found = memchr::memmem::find_iter(&component, MARK);
    let (Some(start), None) = (found.next(), found.next()) else { return None };
    let place = start..start + MARK.len() + 4 + LONGEST_JAVASCRIPT;
    let is_empty = component.get(place.clone())?[MARK.len()..].iter().all(|byte| *byte == 0);
    is_empty.then_some(Base { component, place })
}

/// What a component was made of by [`javascript`], if it was, by this very rota: byte for byte, but for the source.
pub(crate) fn base(component: &[u8]) -> Option<Base> {
    // Most are not: the mark is looked for before anything is decompressed.
    if !is_javascript(component) {
        return None;
    }
    let base = empty().filter(|base| base.component.len() == component.len())?;
    let text = base.place.start + MARK.len();
    let same =
        base.component[..text] == component[..text] && base.component[base.place.end..] == component[base.place.end..];
    same.then_some(base)
}

/// Check and compile a component of others, which may be one that [`javascript`] made.
///
/// # Errors
/// [`LoadError`], which names what is wrong with it.
pub async fn load(sandbox: &Arc<Sandbox>, component: Arc<[u8]>) -> Result<Plugin, LoadError> {
    sandbox.load_filled(component, base).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::{base, empty, javascript};

    #[test]
    fn what_was_made_of_a_source_is_known_by_every_other_byte() {
        let made = javascript("export default {}").unwrap();
        let found = base(&made).unwrap();
        assert!(found.component == empty().unwrap().component);
        assert!(made[found.place.clone()].windows(17).any(|window| window == b"export default {}"));
        // Another build of `script`, or one that somebody changed, is somebody's component.
        for place in [8, found.place.start - 1, found.place.end, made.len() - 1] {
            let mut changed = made.clone();
            changed[place] ^= 1;
            assert!(base(&changed).is_none(), "{place}");
        }
        let mut longer = made;
        longer.push(0);
        assert!(base(&longer).is_none());
        // Without a source it is `script` itself, which is loaded as what it is.
        assert!(base(&empty().unwrap().component).is_none());
    }
}
