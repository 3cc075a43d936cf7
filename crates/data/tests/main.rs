//! The crate's integration tests, one binary.

#![allow(clippy::disallowed_methods)] // values to try with

mod benchmarks;
mod leakage;
mod mutated;
mod order;
mod photographs;
mod sources;
mod support;
mod vocabulary;
