//! An answer as the guest holds it: rows in batches, each row lowered straight into the guest's memory.

use crate::query::{Batches, Row, Rows};
use crate::wit::Column;
use rota_capability::RunContext;
use rota_capability::streams::give_outcome;
use rota_capability::tape::{Tap, current};
use rota_contract::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio_util::sync::WaitForCancellationFutureOwned;
use wasmtime::component::{
    Access, Destination, FutureReader, HasData, StreamProducer, StreamReader, StreamResult, VecBuffer,
};
use wasmtime::{AsContextMut as _, StoreContextMut};

/// What `query` answers.
pub(super) type Answer = (Vec<Column>, StreamReader<Row>, FutureReader<Result<u64, Error>>);

/// Hand an answer to the guest.
pub(super) fn give<T: 'static, D>(
    access: &mut Access<'_, T, D>,
    rows: Rows,
    run: &RunContext,
) -> wasmtime::Result<Answer>
where
    D: HasData + ?Sized,
{
    let stream = StreamReader::new(
        access.as_context_mut(),
        RowStream { batches: Some(rows.batches), stopped: Box::pin(run.stopped()), tap: current() },
    )?;
    let outcome = give_outcome(access, rows.outcome)?;
    Ok((rows.columns, stream, outcome))
}

struct RowStream {
    /// None once the run was told to stop: the statement ends with it.
    batches: Option<Batches<Vec<Row>>>,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    tap: Option<Tap>,
}

impl<D> StreamProducer<D> for RowStream {
    type Item = Row;
    type Buffer = VecBuffer<Row>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, D>,
        mut destination: Destination<'a, Row, VecBuffer<Row>>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        // A zero-length read asks whether there is something; what is taken for it could be lost, so the answer is "try".
        if destination.remaining(store.as_context_mut()) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        if finish {
            return Poll::Ready(Ok(StreamResult::Cancelled));
        }
        if self.stopped.as_mut().poll(cx).is_ready() {
            self.batches = None;
        }
        let me = &mut *self;
        let next = match &mut me.batches {
            Some(batches) => ready!(batches.poll_recv(cx)),
            None => None,
        };
        // What the guest has no room for stays in the buffer, and is given before this is asked again.
        Poll::Ready(Ok(match next {
            Some(batch) => {
                if let Some(tap) = &me.tap {
                    tap.items(&batch);
                }
                destination.set_buffer(VecBuffer::from(batch));
                StreamResult::Completed
            }
            None => {
                if let Some(mut tap) = me.tap.take() {
                    tap.ended();
                }
                StreamResult::Dropped
            }
        }))
    }
}
