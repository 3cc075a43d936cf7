//! Vectors of `f32` behind one trait, and the choice of instruction set at run time.
//!
//! A kernel is written once as a [`Kernel`], generic over [`Simd`]. [`run`] enters it through a
//! function compiled for the instruction set in use; everything on the way to the intrinsics must be
//! `#[inline(always)]`. Threads are spawned outside of kernels: a closure handed to another thread would
//! lose the instruction set.
//!
//! Vectors have [`LANES`] lanes on every processor, on some of them in two registers; their sums are in one order, and
//! multiply-adds round once. So results are the same everywhere, to the last bit.

mod instruction_set;
mod portable;
mod vectors;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use instruction_set::inherit;
pub use instruction_set::{InstructionSet, InstructionSetError, with_instruction_set};
pub(crate) use portable::Portable;
pub(crate) use vectors::{Kernel, LANES, Simd, each_vector, run, run_plain};
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};
