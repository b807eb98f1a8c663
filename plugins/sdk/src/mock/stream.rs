//! Streams and their endings, in memory.

use crate::HostError;
use std::collections::VecDeque;
use std::future::{IntoFuture, Ready, ready};

/// What the host streams, whole in memory. May break at its end.
#[derive(Debug)]
pub(crate) struct Stream<T> {
    items: VecDeque<T>,
    failure: Option<HostError>,
}

impl<T> Stream<T> {
    /// A stream that ends well.
    pub(crate) fn whole(items: Vec<T>) -> Self {
        Self { items: items.into(), failure: None }
    }

    /// A stream that breaks after its items, when there is a failure.
    pub(crate) fn ending_with(items: Vec<T>, failure: Option<HostError>) -> Self {
        Self { items: items.into(), failure }
    }

    /// The next items, at most `limit`.
    pub(crate) fn read_some(&mut self, limit: usize) -> Option<Vec<T>> {
        if self.items.is_empty() { None } else { Some(self.items.drain(..limit.min(self.items.len())).collect()) }
    }

    /// All of it, or what broke it.
    pub(crate) fn into_whole(self) -> Result<Vec<T>, HostError> {
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok(self.items.into()),
        }
    }

    /// The items that came, and what broke it.
    pub(crate) fn into_parts(self) -> (Vec<T>, Option<HostError>) {
        (self.items.into(), self.failure)
    }
}

/// How a stream ended.
#[derive(Debug)]
pub(crate) struct Ending<T>(Result<T, HostError>);

impl<T> Ending<T> {
    pub(crate) fn new(result: Result<T, HostError>) -> Self {
        Self(result)
    }
}

impl<T> IntoFuture for Ending<T> {
    type Output = Result<T, HostError>;
    type IntoFuture = Ready<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        ready(self.0)
    }
}
