//! The crate's integration tests, one binary.

mod benchmarks;
mod leakage;
mod mutated;
mod order;
mod photographs;
mod sources;
mod support;
mod vocabulary;
