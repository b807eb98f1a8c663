//! pgvector's indexes and searches.
