//! Several things at a time.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Poll;

/// Drive two futures at once, to the end of both.
pub async fn join<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut from_a, mut from_b) = (None, None);
    std::future::poll_fn(move |cx| {
        if from_a.is_none()
            && let Poll::Ready(value) = a.as_mut().poll(cx)
        {
            from_a = Some(value);
        }
        if from_b.is_none()
            && let Poll::Ready(value) = b.as_mut().poll(cx)
        {
            from_b = Some(value);
        }
        match (from_a.take(), from_b.take()) {
            (Some(x), Some(y)) => Poll::Ready((x, y)),
            (x, y) => {
                (from_a, from_b) = (x, y);
                Poll::Pending
            }
        }
    })
    .await
}

/// Do the same with each of some things, at most `bound` at a time, and give the results in the order of the things.
pub async fn each<I, F: Future>(items: I, bound: usize, mut work: impl FnMut(I::Item) -> F) -> Vec<F::Output>
where
    I: IntoIterator,
{
    let mut items = items.into_iter().enumerate();
    let mut under_way: Vec<(usize, Pin<Box<F>>)> = Vec::new();
    let mut done: Vec<(usize, F::Output)> = Vec::new();
    std::future::poll_fn(move |cx| {
        loop {
            while under_way.len() < bound.max(1) {
                let Some((place, item)) = items.next() else { break };
                under_way.push((place, Box::pin(work(item))));
            }
            if under_way.is_empty() {
                let mut all = std::mem::take(&mut done);
                all.sort_by_key(|(place, _)| *place);
                return Poll::Ready(all.into_iter().map(|(_, output)| output).collect());
            }
            let before = done.len();
            under_way.retain_mut(|(place, future)| match future.as_mut().poll(cx) {
                Poll::Ready(output) => {
                    done.push((*place, output));
                    false
                }
                Poll::Pending => true,
            });
            // Where none ended, whoever ends first wakes us; else the next may begin.
            if done.len() == before {
                return Poll::Pending;
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::task::{Context, Waker};

    #[test]
    fn each_keeps_to_its_bound_and_to_the_order() {
        let (now, most) = (Cell::new(0), Cell::new(0));
        let (now, most) = (&now, &most);
        let mut all = pin!(each(0..10, 3, |n| async move {
            now.set(now.get() + 1);
            most.set(most.get().max(now.get()));
            // The even ones take longer.
            let mut turns = if n % 2 == 0 { 3 } else { 1 };
            std::future::poll_fn(|_| {
                turns -= 1;
                if turns == 0 { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            now.set(now.get() - 1);
            n
        }));
        let mut cx = Context::from_waker(Waker::noop());
        let found = loop {
            if let Poll::Ready(found) = all.as_mut().poll(&mut cx) {
                break found;
            }
        };
        assert_eq!((found, most.get(), now.get()), ((0..10).collect::<Vec<_>>(), 3, 0));
    }
}
