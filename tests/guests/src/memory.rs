//! This guest's own memory, searched for what it must never hold.

use serde_json::Value;

/// How often the memory holds what the two halves of a pair make when joined. They are never joined here, so that the search
/// does not find itself.
pub(crate) fn count(pair: &Value) -> usize {
    let half = |index: usize| pair[index].as_str().unwrap_or_default().as_bytes();
    occurrences(all(), half(0), half(1))
}

fn occurrences(memory: &[u8], first: &[u8], second: &[u8]) -> usize {
    let length = first.len() + second.len();
    if first.is_empty() || second.is_empty() {
        return 0;
    }
    memory.windows(length).filter(|window| window.starts_with(first) && window[first.len()..] == *second).count()
}

/// Everything from the first address that may be read to the end of the linear memory.
#[cfg(target_arch = "wasm32")]
fn all() -> &'static [u8] {
    const FIRST: usize = 16;
    let end = core::arch::wasm32::memory_size(0) * 65_536;
    // SAFETY: linear memory is readable from 0 to its size, which never shrinks. What lies in it may change under the slice, but not
    // while this single thread reads it.
    unsafe { std::slice::from_raw_parts(FIRST as *const u8, end - FIRST) }
}

#[cfg(not(target_arch = "wasm32"))]
fn all() -> &'static [u8] {
    &[]
}
