//! A program's output without a program: the interfaces `tools` and `process` of the contract, whose every child has the same
//! endless bytes in memory as its standard output. So a guest holds a stream that the host made, and the pump is measured against
//! the same reader without anything else in the way.

use rota_capability::streams::HostBytes;
use rota_capability::{Capability, Guest, Services};
use rota_contract::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};
use wasmtime::AsContextMut as _;
use wasmtime::component::{ComponentType, Lift, Linker, Resource, ResourceType, StreamReader};

/// How many bytes the source has.
pub(crate) const SIZE: u64 = 4 << 30;

static PATTERN: [u8; 256 << 10] = [0x5a; 256 << 10];

/// So many bytes, copied from memory that stays in the processor's cache.
pub(crate) struct Source(pub(crate) u64);

impl AsyncRead for Source {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let take = (buffer.remaining().min(PATTERN.len()) as u64).min(self.0);
        // No more than the pattern's length.
        buffer.put_slice(&PATTERN[..take as usize]);
        self.0 -= take;
        Poll::Ready(Ok(()))
    }
}

/// `tools` and `process`, for this bench's guest alone.
pub(crate) struct SourceCapability;

struct Child;

/// The contract's record `connection`, which the guest leaves out.
#[derive(ComponentType, Lift)]
#[component(record)]
#[allow(dead_code, reason = "its shape is what counts")]
struct Connection {
    slot: String,
    database: Option<String>,
}

type Spawn = (String, Vec<String>, Option<Connection>, Option<StreamReader<u8>>);

impl Capability for SourceCapability {
    fn name(&self) -> &'static str {
        "tool"
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &["process", "tools"]
    }

    fn link(&self, linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
        let mut process = linker.instance("rota:runbook/process@0.1.0")?;
        process.resource("child", ResourceType::host::<Child>(), |_, _| Ok(()))?;
        process.func_wrap("[method]child.stdout", |mut store, (_,): (Resource<Child>,)| {
            let stream = StreamReader::new(store.as_context_mut(), HostBytes::new(Source(SIZE)))?;
            Ok((Ok::<_, Error>(stream),))
        })?;
        let mut tools = linker.instance("rota:runbook/tools@0.1.0")?;
        tools.func_wrap_concurrent("spawn", |accessor, (_, _, _, _): Spawn| {
            let child = accessor.with(|mut access| access.data_mut().push(Child));
            Box::pin(async move { Ok((Ok::<_, Error>(child?),)) })
        })
    }

    fn provide(&self, _: &mut Services) {}
}
