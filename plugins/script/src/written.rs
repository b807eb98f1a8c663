//! Streams that the script writes itself, piece by piece.
//!
//! A stream that a component writes ends well when its writer goes, whatever was still to come: a script that throws half-way would leave half
//! an object that looks whole. So what the script writes goes out as a frame of Zstandard with plain blocks, and passes the host's own filter
//! that takes the frame off again: it fails when the frame's last block never came, and whatever reads it keeps nothing.

use crate::cache::bytes;
use crate::desk::Desk;
use crate::value::Js;
use rota_sdk::prelude::*;

/// Magic, no checksum and no size, a window of 128 KiB.
const HEAD: [u8; 6] = [0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x38];
/// A plain block of nothing that is the last one.
const TAIL: [u8; 3] = [0x01, 0x00, 0x00];
/// How many bytes a block has: always as many, so that the same content is the same stream however the script cuts it.
const BLOCK: usize = 64 << 10;

/// A stream that the script is writing.
#[derive(Default)]
pub(crate) struct Writing {
    #[cfg(target_arch = "wasm32")]
    writer: Option<rota_sdk::ByteWriter>,
    begun: bool,
    /// Less than a block.
    gathered: Vec<u8>,
}

/// What goes out for more of the content: whole blocks.
fn framed(writing: &mut Writing, more: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if !std::mem::replace(&mut writing.begun, true) {
        out.extend(HEAD);
    }
    writing.gathered.extend_from_slice(more);
    let whole = writing.gathered.len() / BLOCK * BLOCK;
    for block in writing.gathered[..whole].chunks(BLOCK) {
        push(&mut out, block);
    }
    writing.gathered.drain(..whole);
    out
}

/// What goes out at the end.
fn ended(writing: &mut Writing) -> Vec<u8> {
    let mut out = framed(writing, &[]);
    if !writing.gathered.is_empty() {
        push(&mut out, &std::mem::take(&mut writing.gathered));
    }
    out.extend(TAIL);
    out
}

/// A plain block.
fn push(out: &mut Vec<u8>, block: &[u8]) {
    out.extend(&((block.len() as u32) << 3).to_le_bytes()[..3]);
    out.extend_from_slice(block);
}

/// Calls that write.
#[cfg(target_arch = "wasm32")]
pub(crate) async fn call(desk: &Desk, what: &str, args: &[Js]) -> Result<Js> {
    use crate::flow::Flow;
    let slab = &desk.flows.writing;
    match (what, args) {
        ("open", []) => {
            let (writer, stream) = ByteStream::written();
            let flow = Flow::new("what the script writes", stream).through("what the script wrote", ByteStream::unzstd);
            let writer = slab.borrow_mut().insert(Writing { writer: Some(writer), ..Writing::default() });
            Ok(Js::object([("handle", desk.flows.insert(flow)), ("writer", writer)]))
        }
        // Whether anybody wants more.
        ("write" | "end", [handle, rest @ ..]) => {
            let mut writing = slab.borrow_mut().take(handle)?;
            let out = match rest {
                [data] => {
                    let data = bytes(data);
                    match data {
                        Ok(data) => framed(&mut writing, &data),
                        Err(error) => {
                            slab.borrow_mut().free(handle);
                            return Err(error);
                        }
                    }
                }
                _ => ended(&mut writing),
            };
            let wanted = match &mut writing.writer {
                Some(writer) if !out.is_empty() => {
                    desk.writes.set(desk.writes.get() + 1);
                    let wanted = writer.write(out).await;
                    desk.writes.set(desk.writes.get() - 1);
                    wanted
                }
                writer => writer.is_some(),
            };
            if wanted && what == "write" {
                slab.borrow_mut().put_back(handle, writing);
            } else {
                slab.borrow_mut().free(handle);
            }
            Ok(Js::Flag(wanted))
        }
        ("fail", [handle]) => {
            drop(slab.borrow_mut().remove(handle));
            Ok(Js::Undefined)
        }
        _ => Err(Desk::unknown("bytes", what)),
    }
}

/// Without a host nothing is read either.
#[cfg(not(target_arch = "wasm32"))]
#[allow(clippy::unused_async, reason = "as in the component")]
pub(crate) async fn call(_: &Desk, what: &str, args: &[Js]) -> Result<Js> {
    let _ = args.first().map(bytes);
    Err(Desk::unknown("bytes", what))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes the frame off, as the host does; none where it is cut.
    fn plain(mut frame: &[u8]) -> Option<Vec<u8>> {
        frame = frame.strip_prefix(&HEAD)?;
        let mut all = Vec::new();
        loop {
            let (head, rest) = frame.split_at_checked(3)?;
            let head = u32::from_le_bytes([head[0], head[1], head[2], 0]);
            let (block, rest) = rest.split_at_checked((head >> 3) as usize)?;
            all.extend_from_slice(block);
            frame = rest;
            if head & 1 == 1 {
                return frame.is_empty().then_some(all);
            }
        }
    }

    #[test]
    fn what_is_written_is_a_frame_whatever_pieces_it_comes_in_and_cut_short_it_is_none() {
        let content: Vec<u8> = (0..200_000_u32).map(|number| (number % 251) as u8).collect();
        let mut frames = Vec::new();
        for piece in [1_000, 65_536, 70_001, 200_000] {
            let mut writing = Writing::default();
            let mut out: Vec<u8> = content.chunks(piece).flat_map(|piece| framed(&mut writing, piece)).collect();
            assert_eq!(plain(&out), None);
            out.extend(ended(&mut writing));
            assert_eq!(plain(&out).unwrap(), content);
            assert_eq!(plain(&out[..out.len() - 1]), None);
            frames.push(out);
        }
        assert!(frames.iter().all(|frame| *frame == frames[0]));
        assert_eq!(plain(&ended(&mut Writing::default())).unwrap(), b"");
    }
}
