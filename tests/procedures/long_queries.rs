//! Long queries and transactions, cancelled or ended.
