//! The crate's integration tests, one binary.

#![allow(clippy::disallowed_methods)] // values to try with

mod benchmarks;
mod exports;
mod formats;
mod leakage;
mod masks;
mod mutated;
mod order;
mod photographs;
mod pictures;
mod sources;
mod storage;
mod support;
mod tables;
mod unchanged;
mod vocabulary;
