//! Sources of `crates/kernels/src/host`, with their tests.
#![allow(dead_code, unused_imports)] // what the operations use

#[cfg(not(loom))]
#[path = "../../../../crates/kernels/src/host"]
mod host {
    pub(crate) mod element;
    pub(crate) mod gemm;
    pub(crate) mod math;
    pub(crate) mod par;
    pub(crate) mod simd;
    mod team;
}

#[cfg(loom)]
#[path = "../../../../crates/kernels/src/host"]
mod host {
    mod team;
}
