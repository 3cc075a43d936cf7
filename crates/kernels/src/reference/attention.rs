use burn::tensor::{Bool, Int, Tensor, activation};

use crate::AttentionMask;
use crate::precision::{like, wide};

/// Scaled dot-product attention; see [`crate::attention`].
pub fn attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    mask: AttentionMask,
    scale: f64,
) -> Tensor<4> {
    let heads = q.dims()[1];
    let (k, v) = (repeat_heads(k, heads), repeat_heads(v, heads));
    like(probabilities(q, k, mask, scale), &v).matmul(v)
}

/// How much each query takes of each key, `[batch, heads, queries, keys]`, in at least 32 bits; `k` has as many
/// heads as `q`.
pub(crate) fn probabilities(
    q: Tensor<4>,
    k: Tensor<4>,
    mask: AttentionMask,
    scale: f64,
) -> Tensor<4> {
    let ([batch, heads, queries, _], keys) = (q.dims(), k.dims()[2]);
    let mut scores = wide(q.matmul(k.transpose())) * scale;
    if let Some(bias) = mask.bias {
        let bias = like(bias, &scores);
        scores = scores + bias;
    }
    let Some(hidden) = hidden(mask.causal, mask.key_padding, queries, keys, &scores) else {
        return activation::softmax(scores, 3);
    };
    let hidden = hidden.expand([batch, heads, queries, keys]);
    // Finite, so that a row that sees nothing gives numbers; the second fill clears it.
    let scores = scores.mask_fill(hidden.clone(), -1e30);
    activation::softmax(scores, 3).mask_fill(hidden, 0.0)
}

/// `[batch or 1, 1, queries or 1, keys]`, true where a key must not be seen; `None` if all are.
fn hidden(
    causal: bool,
    key_padding: Option<Tensor<2, Bool>>,
    queries: usize,
    keys: usize,
    like: &Tensor<4>,
) -> Option<Tensor<4, Bool>> {
    let padding = key_padding.map(|visible| {
        let [rows, keys] = visible.dims();
        visible.bool_not().reshape([rows, 1, 1, keys])
    });
    let future = causal.then(|| {
        let device = like.device();
        let key = Tensor::<1, Int>::arange(0..keys as i64, &device).reshape([1, 1, 1, keys]);
        let query = Tensor::<1, Int>::arange(0..queries as i64, &device) // aligned at the end
            .reshape([1, 1, queries, 1])
            + (keys as i64 - queries as i64);
        let shape = [1, 1, queries, keys];
        key.expand(shape).greater(query.expand(shape))
    });
    match (padding, future) {
        (Some(padding), Some(future)) => {
            let shape = [padding.dims()[0], 1, queries, keys];
            Some(padding.expand(shape).bool_or(future.expand(shape)))
        }
        (padding, future) => padding.or(future),
    }
}

/// Every key head as often as query heads share it.
pub(crate) fn repeat_heads(x: Tensor<4>, heads: usize) -> Tensor<4> {
    let [batch, kv_heads, seq, dim] = x.dims();
    if kv_heads == heads {
        return x;
    }
    let group = heads / kv_heads;
    x.reshape([batch, kv_heads, 1, seq, dim])
        .expand([batch, kv_heads, group, seq, dim])
        .reshape([batch, heads, seq, dim])
}
