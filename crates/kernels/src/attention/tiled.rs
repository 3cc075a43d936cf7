//! Attention where there is no fused kernel (GPUs, 16 bits): a composition by blocks of queries.
//!
//! Nothing is kept but the operands: the backward pass computes probabilities again, block by block, so that
//! the table of all of them never exists (Rabe and Staats 2021).
#![allow(clippy::disallowed_methods)] // of GPUs and 16 bits, whose bits are not promised

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;

use super::AttentionMask;
use crate::graph::{untracked, with_gradient};
use crate::precision::{cast, like, wide};
use crate::reference::attention::{probabilities, repeat_heads};

/// Most entries of a table of scores.
const TABLE: usize = 1 << 26;

/// [`super::attention`] with a bias that needs no gradient.
pub(super) fn tiled(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    mask: AttentionMask,
    scale: f64,
) -> Tensor<4> {
    let tiles = Tiles {
        mask: AttentionMask {
            bias: mask.bias.map(untracked),
            ..mask
        },
        scale,
        table: TABLE,
    };
    tiles.run(q, k, v)
}

struct Tiles {
    mask: AttentionMask,
    scale: f64,
    /// Most entries of a table of scores.
    table: usize,
}

/// Queries, and the keys that any of them sees, from the first on.
struct Tile {
    queries: Range<usize>,
    keys: usize,
}

impl Tiles {
    fn run(self, q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
        let tracked = [&q, &k, &v].into_iter().any(Tensor::is_tracked);
        let [a, b, c] = [&q, &k, &v].map(|x| untracked(x.clone()));
        let output = self.forward(a, b, c);
        if !tracked {
            return output;
        }
        let gradient = move |inputs: &[Tensor<4>], grad: Tensor<4>, _: &[bool]| {
            let [q, k, v] = [0, 1, 2].map(|i| inputs[i].clone());
            self.backward(q, k, v, grad).map(Some).to_vec()
        };
        with_gradient(vec![q, k, v], output, Arc::new(gradient))
    }

    fn tiles(&self, q: &Tensor<4>, k: &Tensor<4>) -> Vec<Tile> {
        let ([batch, heads, queries, _], keys) = (q.dims(), k.dims()[2]);
        let size = (self.table / (batch * heads * keys).max(1)).clamp(1, queries.max(1));
        let tile = |first: usize| {
            let end = queries.min(first + size);
            let seen = if self.mask.causal {
                (end + keys).saturating_sub(queries).min(keys)
            } else {
                keys
            };
            Tile {
                queries: first..end,
                keys: seen,
            }
        };
        (0..queries).step_by(size).map(tile).collect()
    }

    /// What the mask says of a tile. Causal masks are aligned at the end, and so is the tile.
    fn mask_of(&self, tile: &Tile) -> AttentionMask {
        let AttentionMask {
            causal,
            key_padding,
            bias,
        } = self.mask.clone();
        let rows = |bias: Tensor<4>| match bias.dims()[2] {
            1 => bias,
            _ => bias.narrow(2, tile.queries.start, tile.queries.len()),
        };
        let columns = |bias: Tensor<4>| match bias.dims()[3] {
            1 => bias,
            _ => bias.narrow(3, 0, tile.keys),
        };
        AttentionMask {
            causal,
            key_padding: key_padding.map(|padding| padding.narrow(1, 0, tile.keys)),
            bias: bias.map(|bias| columns(rows(bias))),
        }
    }

    fn forward(&self, q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
        #[cfg(any(feature = "cuda", feature = "wgpu"))]
        if let Some(output) = super::flash::flash(&q, &k, &v, &self.mask, self.scale) {
            return output;
        }
        let ([batch, heads, ..], width) = (q.dims(), v.dims()[3]);
        let (k, v) = (repeat_heads(k, heads), repeat_heads(v, heads));
        let tile = |tile: Tile| {
            if tile.keys == 0 {
                let shape = [batch, heads, tile.queries.len(), width];
                return Tensor::zeros(shape, (&v.device(), v.dtype()));
            }
            let q = rows(&q, &tile.queries);
            let (k, v) = (rows(&k, &(0..tile.keys)), rows(&v, &(0..tile.keys)));
            let probabilities = probabilities(q, k, self.mask_of(&tile), self.scale);
            like(probabilities, &v).matmul(v)
        };
        join(self.tiles(&q, &k).into_iter().map(tile).collect())
    }

    /// Gradients of `q`, `k` and `v`.
    fn backward(
        &self,
        q: Tensor<4>,
        k: Tensor<4>,
        v: Tensor<4>,
        grad: Tensor<4>,
    ) -> [Tensor<4>; 3] {
        let (heads, kv_heads) = (q.dims()[1], k.dims()[1]);
        let tiles = self.tiles(&q, &k);
        let (k, v) = (repeat_heads(k, heads), repeat_heads(v, heads));
        let mut dq = Vec::with_capacity(tiles.len());
        let mut dk = Tensor::zeros(k.dims(), (&k.device(), wide_type(&k)));
        let mut dv = Tensor::zeros(v.dims(), (&v.device(), wide_type(&v)));
        for tile in tiles {
            let q = rows(&q, &tile.queries);
            if tile.keys == 0 {
                dq.push(q.zeros_like());
                continue;
            }
            let grad = rows(&grad, &tile.queries);
            let (k, v) = (rows(&k, &(0..tile.keys)), rows(&v, &(0..tile.keys)));
            let p = probabilities(q.clone(), k.clone(), self.mask_of(&tile), self.scale);
            dv = add_rows(dv, like(p.clone(), &grad).transpose().matmul(grad.clone()));
            let dp = wide(grad.matmul(v.transpose()));
            let weighted = p.clone() * dp;
            let ds = weighted.clone() - p * weighted.sum_dim(3);
            let ds = like(ds * self.scale, &q);
            dk = add_rows(dk, ds.clone().transpose().matmul(q));
            dq.push(ds.matmul(k));
        }
        [
            join(dq),
            cast(add_heads(dk, kv_heads), k.dtype()),
            cast(add_heads(dv, kv_heads), v.dtype()),
        ]
    }
}

fn wide_type(x: &Tensor<4>) -> burn::tensor::DType {
    crate::precision::at_least_32(x.dtype())
}

fn rows(x: &Tensor<4>, range: &Range<usize>) -> Tensor<4> {
    if range.len() == x.dims()[2] {
        return x.clone();
    }
    x.clone().narrow(2, range.start, range.len())
}

fn join(mut parts: Vec<Tensor<4>>) -> Tensor<4> {
    if parts.len() == 1 {
        return parts.swap_remove(0);
    }
    Tensor::cat(parts, 2)
}

/// Adds to the first rows.
fn add_rows(sum: Tensor<4>, part: Tensor<4>) -> Tensor<4> {
    let [batch, heads, all, width] = sum.dims();
    let (count, part) = (part.dims()[2], wide(part));
    if count == all {
        return sum + part;
    }
    let shape = [batch, heads, all - count, width];
    let rest = Tensor::zeros(shape, (&part.device(), part.dtype()));
    sum + Tensor::cat(vec![part, rest], 2)
}

/// Sums over the query heads that share a key head.
fn add_heads(x: Tensor<4>, kv_heads: usize) -> Tensor<4> {
    let [batch, heads, keys, width] = x.dims();
    if heads == kv_heads {
        return x;
    }
    x.reshape([batch, kv_heads, heads / kv_heads, keys, width])
        .sum_dim(2)
        .reshape([batch, kv_heads, keys, width])
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Bool, DType, Device, Distribution};

    use super::*;
    use crate::reference;

    fn random(shape: [usize; 4], device: &Device) -> Tensor<4> {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
    }

    fn numbers(x: Tensor<4>) -> Vec<f32> {
        untracked(x).into_data().iter::<f32>().collect()
    }

    /// Largest difference of outputs and of the three gradients, relative to the largest entry.
    fn differences(
        [heads, kv_heads, queries, keys]: [usize; 4],
        mask: &AttentionMask,
        dtype: DType,
    ) -> [f32; 4] {
        let device = Device::flex().autodiff();
        device.seed(7);
        let (batch, dim) = (2, 6);
        let [q, k, v] = [
            [batch, heads, queries, dim],
            [batch, kv_heads, keys, dim],
            [batch, kv_heads, keys, dim + 2],
        ]
        .map(|shape| random(shape, &device).require_grad());
        let weights = random([batch, heads, queries, dim + 2], &device);
        let scale = 0.4;
        let run = |table: Option<usize>| {
            let dtype = if table.is_some() { dtype } else { DType::F32 };
            let [a, b, c] = [&q, &k, &v].map(|x| cast(x.clone(), dtype));
            let output = match table {
                Some(table) => Tiles {
                    mask: mask.clone(),
                    scale,
                    table,
                }
                .run(a, b, c),
                None => reference::attention(a, b, c, mask.clone(), scale),
            };
            assert_eq!(output.dtype(), dtype);
            let output = wide(output);
            let grads = (output.clone() * weights.clone()).sum().backward();
            let of = |x: &Tensor<4>| numbers(x.grad(&grads).expect("a gradient"));
            [numbers(output), of(&q), of(&k), of(&v)]
        };
        let expected = run(None);
        let table = 5 * batch * heads * keys; // five queries a tile
        let found = run(Some(table));
        std::array::from_fn(|i| {
            let top = expected[i].iter().fold(1e-6f32, |top, x| top.max(x.abs()));
            let pairs = expected[i].iter().zip(&found[i]);
            pairs.fold(0f32, |worst, (a, b)| worst.max((a - b).abs() / top))
        })
    }

    fn masks(queries: usize, keys: usize) -> Vec<AttentionMask> {
        let device = Device::flex();
        let visible: Vec<bool> = (0..2 * keys).map(|i| i % 3 != 1 && i != keys).collect();
        let padding = Tensor::<1, Bool>::from_data(visible.as_slice(), &device);
        let bias = random([1, 1, queries, keys], &device);
        let of = |causal, padded: bool, biased: bool| AttentionMask {
            causal,
            key_padding: padded.then(|| padding.clone().reshape([2, keys])),
            bias: biased.then(|| bias.clone()),
        };
        vec![
            of(false, false, false),
            of(true, false, false),
            of(true, true, false),
            of(false, true, true),
            of(true, false, true),
        ]
    }

    #[test]
    fn tiles_equal_the_whole() {
        // Fewer queries than keys, as many, and more: then some see nothing.
        for shape in [[4, 4, 13, 17], [4, 2, 12, 12], [6, 1, 17, 9]] {
            for mask in masks(shape[2], shape[3]) {
                let worst = differences(shape, &mask, DType::F32);
                assert!(
                    worst.iter().all(|d| *d < 1e-5),
                    "{shape:?} {mask:?}: {worst:?}"
                );
            }
        }
    }

    #[test]
    fn sixteen_bits_are_near() {
        for mask in masks(13, 17) {
            let worst = differences([4, 2, 13, 17], &mask, DType::BF16);
            assert!(worst.iter().all(|d| *d < 0.03), "{mask:?}: {worst:?}");
        }
    }
}
