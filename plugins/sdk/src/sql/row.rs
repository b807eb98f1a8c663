//! Rows, as they arrive and as types.

use super::value::FromValue;
use super::{Column, Value};
use crate::bytes::{RawEnding, RawStream, read_some};
use crate::{Error, Result};
use std::marker::PhantomData;
use std::rc::Rc;

/// How many rows come at a time.
const BATCH: usize = 256;

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    columns: Rc<[Column]>,
    values: Vec<Value>,
}

impl Row {
    /// For the mock and the stream.
    pub(crate) fn new(columns: Rc<[Column]>, values: Vec<Value>) -> Self {
        Self { columns, values }
    }

    /// The columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The value of a column by its name: the first, where the name is not unique.
    ///
    /// # Errors
    /// When there is no such column, or its value is not of that type.
    pub fn get<T: FromValue>(&self, column: &str) -> Result<T> {
        match self.place(column) {
            Some(place) => self.at(place),
            None => Err(Error::new(format!("the answer has no column `{column}`"))),
        }
    }

    /// The same, and the type's default where there is no such column (a server of another version).
    ///
    /// # Errors
    /// When its value is not of that type.
    pub fn get_or_default<T: FromValue + Default>(&self, column: &str) -> Result<T> {
        self.place(column).map_or_else(|| Ok(T::default()), |place| self.at(place))
    }

    /// The value of a column by its place, from 0.
    ///
    /// # Errors
    /// When there is no such column, or its value is not of that type.
    pub fn at<T: FromValue>(&self, place: usize) -> Result<T> {
        let Some(value) = self.values.get(place) else {
            return Err(Error::new(format!("the answer has {} columns, none at {place}", self.values.len())));
        };
        T::from_value(value.clone()).map_err(|mismatch| {
            let name = self.columns.get(place).map_or("?", |column| column.name.as_str());
            Error::new(format!("column `{name}` is {} where {} was expected", mismatch.found, mismatch.wanted))
        })
    }

    fn place(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == column)
    }
}

/// What a row can be read as: a struct that derives `FromRow` (by the fields' names), one value, or a tuple (by place).
pub trait FromRow: Sized {
    /// Out of a row.
    ///
    /// # Errors
    /// When a column is missing or of another type.
    fn from_row(row: &Row) -> Result<Self>;
}

impl FromRow for Row {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(row.clone())
    }
}

impl<T: FromValue> FromRow for T {
    fn from_row(row: &Row) -> Result<Self> {
        row.at(0)
    }
}

macro_rules! tuples {
    ($(($($type:ident $place:literal),+))+) => { $(
        impl<$($type: FromValue),+> FromRow for ($($type,)+) {
            fn from_row(row: &Row) -> Result<Self> {
                Ok(($(row.at::<$type>($place)?,)+))
            }
        }
    )+ };
}
tuples! {
    (A 0) (A 0, B 1) (A 0, B 1, C 2) (A 0, B 1, C 2, D 3) (A 0, B 1, C 2, D 3, E 4) (A 0, B 1, C 2, D 3, E 4, F 5)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6) (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7)
}

/// Rows as they arrive. The session is busy until they are dropped.
#[derive(Debug)]
pub struct Rows<'s, T = Row> {
    columns: Rc<[Column]>,
    stream: RawStream<Vec<Value>>,
    ending: Option<RawEnding<u64>>,
    buffer: std::vec::IntoIter<Vec<Value>>,
    session: PhantomData<&'s mut ()>,
    row: PhantomData<fn() -> T>,
}

impl<T: FromRow> Rows<'_, T> {
    pub(crate) fn new((columns, stream, ending): (Vec<Column>, RawStream<Vec<Value>>, RawEnding<u64>)) -> Self {
        Self {
            columns: columns.into(),
            stream,
            ending: Some(ending),
            buffer: Vec::new().into_iter(),
            session: PhantomData,
            row: PhantomData,
        }
    }

    /// The columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The next row; none at the end, which is then known to be a good one.
    ///
    /// # Errors
    /// When the server broke off, or the row is of another shape.
    pub async fn next(&mut self) -> Result<Option<T>> {
        if self.buffer.len() == 0 {
            match read_some(&mut self.stream, BATCH).await {
                Some(batch) => self.buffer = batch.into_iter(),
                None => {
                    if let Some(ending) = self.ending.take() {
                        ending.await?;
                    }
                }
            }
        }
        match self.buffer.next() {
            Some(values) => T::from_row(&Row::new(self.columns.clone(), values)).map(Some),
            None => Ok(None),
        }
    }

    /// The next rows, as many as came, without making rows of a type of them; none at the end, which is then known to be a good one.
    ///
    /// # Errors
    /// When the server broke off.
    pub async fn next_batch(&mut self) -> Result<Option<Vec<Vec<Value>>>> {
        if let Some(batch) = read_some(&mut self.stream, BATCH).await {
            return Ok(Some(batch));
        }
        if let Some(ending) = self.ending.take() {
            ending.await?;
        }
        Ok(None)
    }

    /// All rows, into the plugin's memory.
    ///
    /// # Errors
    /// When there are more than `limit`; otherwise as for [`Self::next`].
    pub async fn collect(mut self, limit: usize) -> Result<Vec<T>> {
        let mut all = Vec::new();
        while let Some(row) = self.next().await? {
            if all.len() == limit {
                return Err(Error::new(format!("more than {limit} rows where that is the limit"))
                    .hint("read them one by one with `next`"));
            }
            all.push(row);
        }
        Ok(all)
    }
}
