//! Scaled dot-product attention (Vaswani et al. 2017).

mod backward;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
mod flash;
mod forward;
mod head;
mod op;
mod tiled;

use burn::tensor::{Bool, Tensor};

use crate::host::custom::{apply, fused};
use crate::mode::{Mode, mode};
use crate::reference;
use op::Attention;
use tiled::tiled;

/// Which keys a query sees, and what is added to its scores.
#[derive(Clone, Debug, Default)]
pub struct AttentionMask {
    /// Query `i` sees keys up to `i + keys - queries` (aligned at the end).
    pub causal: bool,
    /// `[batch, keys]`, true = visible.
    pub key_padding: Option<Tensor<2, Bool>>,
    /// Added to the scaled scores; broadcasts to `[batch, heads, queries, keys]`.
    pub bias: Option<Tensor<4>>,
}

/// `softmax(scale · q kᵀ + bias) v` over the visible keys; rows that see nothing give zeros.
///
/// Keeps no probabilities for the backward pass. A bias that needs a gradient takes the reference path.
///
/// # Shapes
/// - `q`: `[batch, heads, queries, head_dim]`
/// - `k`: `[batch, kv_heads, keys, head_dim]`, where `kv_heads` divides `heads`
/// - `v`: `[batch, kv_heads, keys, value_dim]`
/// - returns `[batch, heads, queries, value_dim]`
///
/// # Panics
/// If the shapes do not fit.
pub fn attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    mask: AttentionMask,
    scale: f64,
) -> Tensor<4> {
    let ([batch, heads, queries, dim], [kv_batch, kv_heads, keys, k_dim]) = (q.dims(), k.dims());
    let fits = kv_batch == batch && k_dim == dim && v.dims()[..3] == k.dims()[..3];
    assert!(
        fits && kv_heads > 0 && heads.is_multiple_of(kv_heads),
        "attention: q {:?}, k {:?}, v {:?}",
        q.dims(),
        k.dims(),
        v.dims()
    );
    if let Some(padding) = &mask.key_padding {
        assert_eq!(padding.dims(), [batch, keys], "attention: key padding");
    }
    let bias_learns = mask.bias.as_ref().is_some_and(Tensor::is_tracked);
    let empty = batch * heads * queries * keys * dim * v.dims()[3] == 0;
    if bias_learns || empty || mode() == Mode::Reference {
        return reference::attention(q, k, v, mask, scale);
    }
    if ![&q, &k, &v].into_iter().chain(&mask.bias).all(fused) {
        return tiled(q, k, v, mask, scale);
    }
    let padding = mask.key_padding.map(|visible| {
        let hidden = |visible: bool| if visible { 0.0 } else { op::HIDDEN };
        visible.into_data().iter::<bool>().map(hidden).collect()
    });
    let op = Attention {
        causal: mask.causal,
        padding,
        scale: scale as f32,
    };
    let mut inputs = vec![q.into_dispatch(), k.into_dispatch(), v.into_dispatch()];
    if let Some(bias) = mask.bias {
        inputs.push(bias.expand([batch, heads, queries, keys]).into_dispatch());
    }
    apply(op, inputs)
}
