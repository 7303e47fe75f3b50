//! The audit feed.
