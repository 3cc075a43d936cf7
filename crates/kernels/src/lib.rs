//! Fused tensor operations with hand-written backward passes.
//!
//! Every operation exists twice: as `reference::op`, made of ordinary differentiable Burn
//! operations and valid on every device, and as `op`, which runs a fused implementation on the
//! CPU back end (Flex, f32) and the reference everywhere else. See [`mode`] for how to switch.
//!
//! Fused operations give the same results to the last bit with every instruction set (see
//! [`InstructionSet`], `DEEM_SIMD`) and any number of threads: vectors have sixteen lanes everywhere, sums one order
//! that shapes alone decide, and multiply-adds one rounding. The tensor framework's own matrix products and
//! elementary functions do not promise that (see docs/determinism.md), which is why [`matmul`], [`exp`] and their like
//! are here.
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::disallowed_methods))] // values to compare with
#![recursion_limit = "256"]

mod activation;
mod adamw;
mod attention;
mod checkpoint;
mod conv;
mod cross_entropy;
mod deformable;
mod graph;
mod host;
mod key_values;
mod linear;
mod matmul;
mod mlp;
mod mode;
mod norm;
pub mod precision;
mod prepacked;
mod profile;
mod quantized;
mod reduce;
pub mod reference;
mod roofline;
mod rotary;
mod select;
mod sum;

pub use activation::{
    exp, gaussian, geglu, gelu, gelu_tanh, log, quick_gelu, sigmoid, silu, softmax, softplus, sqrt,
    swiglu, tanh,
};
pub use adamw::{AdamW, adamw_step};
pub use attention::{AttentionMask, attention};
pub use checkpoint::{checkpoints, recomputed};
pub use conv::{Conv2dOptions, conv2d};
pub use cross_entropy::cross_entropy;
pub use deformable::{Looks, Shifts, deformable_attention};
pub use graph::{Leaf, LeafGradient};
pub use host::simd::{InstructionSet, InstructionSetError, with_instruction_set};
pub use host::team::share_processors;
pub use key_values::KeyValues;
pub use linear::linear;
pub use matmul::matmul;
pub use mlp::{Affine, MlpActivation, mlp, swiglu_mlp};
pub use mode::{Mode, UnknownMode, mode, with_mode};
pub use norm::{group_norm, layer_norm, rms_norm};
pub use prepacked::{PrepackedMatrix, prepacked_linear, prepacked_swiglu_mlp};
pub use profile::{Cost, Entry, profile, profiled};
pub use quantized::{
    BlockFormat, PackedError, PackedMatrix, packed_linear, packed_rows, packed_swiglu_mlp,
};
pub use reduce::{mean, mean_last, sum, sum_last};
pub use roofline::Roofline;
pub use rotary::rotary;
pub use select::select;
pub use sum::sum_of_squares;
