//! Building blocks of the fused CPU kernels: vectors, threads, buffers, matrix product.

pub(crate) mod custom;
pub(crate) mod element;
pub(crate) mod gemm;
pub(crate) mod math;
pub(crate) mod par;
pub(crate) mod simd;
pub(crate) mod team;
