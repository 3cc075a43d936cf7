//! The server's integration tests, linked once.

mod http;
mod schedule;
