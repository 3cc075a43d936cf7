//! Products with weights that stay packed in memory as a GGUF file has them.
//!
//! A file's blocks are read where they lie and never unpacked as a whole. The other side, activations, is rounded to
//! 8 bits in groups of 32 with a scale each; codes are multiplied as integers, and a group's sum enters the result by its
//! scales in 32 bits. What integers give does not depend on the instructions that multiply them; the scales' products
//! are added on sixteen lanes in the order of columns, and the lanes pairwise: results are the same to the last bit on
//! every processor, with any number of threads and whatever other rows are multiplied in the same call.
//!
//! | | |
//! |---|---|
//! | `format.rs` | the formats: sizes of blocks, unpacking |
//! | `small_blocks.rs`, `k_quants.rs` | how blocks are unpacked to numbers |
//! | `matrix.rs` | a matrix in a piece of memory |
//! | `activations.rs` | rows of 8-bit codes |
//! | `decode.rs` | blocks as codes and scales in registers |
//! | `dot.rs`, `x86.rs` | 64 codes at a time, for each instruction set |
//! | `product.rs` | the product |
//! | `op.rs` | as operations on tensors |

mod activations;
mod decode;
mod dot;
mod format;
mod k_quants;
mod matrix;
mod op;
mod product;
mod small_blocks;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use activations::Activations;
pub use format::BlockFormat;
pub use matrix::{PackedError, PackedMatrix};
pub use op::{packed_linear, packed_rows, packed_swiglu_mlp};
pub(crate) use product::product;
