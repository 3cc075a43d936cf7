//! Multi-head attention: heads lie side by side in the last axis, are taken apart, mixed, and put together.

use burn::tensor::Tensor;
use deem_kernels::{self as kernels, AttentionMask};

/// Attention of heads that lie side by side in the last axis.
///
/// # Shapes
/// - `query`: `[batch, queries, heads · dim]`, returned in the same shape
/// - `key`, `value`: `[batch, keys, heads · dim]`
pub(crate) fn multi_head(
    query: Tensor<3>,
    key: Tensor<3>,
    value: Tensor<3>,
    heads: usize,
    mask: AttentionMask,
) -> Tensor<3> {
    let split = |x| split_heads(x, heads);
    mix_heads(split(query), split(key), split(value), mask)
}

/// Attention of heads that have been taken apart, for what happens to them in between; the result has them
/// side by side. There may be fewer heads of keys and values than of queries (grouped).
///
/// # Shapes
/// - `query`: `[batch, heads, queries, dim]`
/// - `key`, `value`: `[batch, heads or fewer, keys, dim]`
/// - returns `[batch, queries, heads · dim]`
pub(crate) fn mix_heads(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    mask: AttentionMask,
) -> Tensor<3> {
    let scale = score_scale(query.dims()[3]);
    join_heads(kernels::attention(query, key, value, mask, scale))
}

/// What scores of heads of a width are multiplied by.
pub(crate) fn score_scale(dim: usize) -> f64 {
    (dim as f64).sqrt().recip()
}

/// `[batch, heads, seq, dim]` → `[batch, seq, heads · dim]`
pub(crate) fn join_heads(x: Tensor<4>) -> Tensor<3> {
    let [batch, heads, seq, dim] = x.dims();
    x.swap_dims(1, 2).reshape([batch, seq, heads * dim])
}

/// `[batch, seq, heads · dim]` → `[batch, heads, seq, dim]`
pub(crate) fn split_heads(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [batch, seq, width] = x.dims();
    x.reshape([batch, seq, heads, width / heads])
        .swap_dims(1, 2)
}
