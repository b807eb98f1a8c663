//! A procedure written in JavaScript, as a component: the first-party component `script` with the source in the place that it keeps for one
//! (plugins/script/src/program.rs). Nothing is compiled or run, so it needs no tools, and the same source gives the same bytes.

use crate::first_party;

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
    let place = component.windows(MARK.len()).position(|window| window == MARK);
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
    let mut component = first_party::component("script").ok_or(JavascriptError::NoPlace)?;
    let mut found = component.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK);
    let (Some((place, _)), None) = (found.next(), found.next()) else { return Err(JavascriptError::NoPlace) };
    let text = place + MARK.len() + 4;
    if component.get(text..text + LONGEST_JAVASCRIPT).is_none_or(|place| place.iter().any(|byte| *byte != 0)) {
        return Err(JavascriptError::NoPlace);
    }
    component[place + MARK.len()..text].copy_from_slice(&length.to_le_bytes());
    component[text..text + source.len()].copy_from_slice(source.as_bytes());
    Ok(component)
}
