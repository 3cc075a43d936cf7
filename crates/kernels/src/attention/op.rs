//! The operation: sizes, saved state, and threads over batch and heads.

use super::backward::backward;
use super::forward::forward;
use super::head::{Head, Rows};
use crate::host::custom::{Host, HostOp, Output, Saved};
use crate::host::par::{self, Shared, uninit, written};

/// Added to scores that must not be seen; finite, so that differences stay numbers.
pub(super) const HIDDEN: f32 = -1e30;

/// Inputs: `q`, `k`, `v`, and a bias `[batch, heads, queries, keys]` if present.
#[derive(Debug)]
pub(super) struct Attention {
    pub causal: bool,
    /// `[batch, keys]`, zero or [`HIDDEN`].
    pub padding: Option<Vec<f32>>,
    pub scale: f32,
}

#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    heads: usize,
    kv_heads: usize,
    queries: usize,
    keys: usize,
    dim: usize,
    value_dim: usize,
}

impl Sizes {
    fn new(q: &[usize], k: &[usize], v: &[usize]) -> Self {
        Self {
            batch: q[0],
            heads: q[1],
            kv_heads: k[1],
            queries: q[2],
            keys: k[2],
            dim: q[3],
            value_dim: v[3],
        }
    }

    /// Work on one pair of batch element and key head, in vector operations.
    fn cost(&self) -> usize {
        let products = (self.dim + self.value_dim).div_ceil(16) + 2;
        self.heads / self.kv_heads * self.queries * self.keys * products / 4 + 100
    }
}

impl Attention {
    fn head<'a>(
        &'a self,
        sizes: Sizes,
        [q, k, v]: [&'a Host; 3],
        bias: Option<&'a Host>,
        b: usize,
        head: usize,
    ) -> Head<'a> {
        let kv = head * sizes.kv_heads / sizes.heads;
        Head {
            q: Rows::of(q, b, head),
            k: Rows::of(k, b, kv),
            v: Rows::of(v, b, kv),
            queries: sizes.queries,
            keys: sizes.keys,
            dim: sizes.dim,
            value_dim: sizes.value_dim,
            scale: self.scale,
            causal: self.causal,
            padding: self
                .padding
                .as_ref()
                .map(|p| &p[b * sizes.keys..][..sizes.keys]),
            bias: bias.map(|bias| Rows::of(bias, b, head)),
        }
    }
}

/// `[batch, rows, heads, dim]` in memory, seen as `[batch, heads, rows, dim]`: what follows an
/// attention usually joins the heads, which then costs nothing.
fn joined(data: Vec<f32>, [batch, heads, rows, dim]: [usize; 4]) -> Output {
    Output {
        data,
        shape: vec![batch, heads, rows, dim],
        strides: Some(vec![rows * heads * dim, dim, heads * dim, 1]),
    }
}

impl HostOp for Attention {
    fn strided(&self) -> bool {
        true
    }

    fn forward(&self, inputs: &[Host], needs: &[bool], keep: &mut Vec<Vec<f32>>) -> Output {
        let [q, k, v] = [&inputs[0], &inputs[1], &inputs[2]];
        let s = Sizes::new(q.shape(), k.shape(), v.shape());
        let mut y = uninit(s.batch * s.queries * s.heads * s.value_dim);
        let mut log_sums = uninit(s.batch * s.heads * s.queries);
        let (ys, sums) = (Shared::new(&mut y), Shared::new(&mut log_sums));
        par::ranges(s.batch * s.kv_heads, 1, s.cost(), |range| {
            let mut scratch = Default::default();
            for index in range {
                let (b, kv) = (index / s.kv_heads, index % s.kv_heads);
                let group = s.heads / s.kv_heads;
                for head in kv * group..(kv + 1) * group {
                    let start = (b * s.queries * s.heads + head) * s.value_dim;
                    // SAFETY: heads are disjoint
                    unsafe {
                        let sums = sums.slice((b * s.heads + head) * s.queries, s.queries);
                        let head = self.head(s, [q, k, v], inputs.get(3), b, head);
                        let (y, stride) = (ys.at(start), s.heads * s.value_dim);
                        forward(&head, y, stride, sums, &mut scratch);
                    }
                }
            }
        });
        // SAFETY: every head has written its columns of all rows, and one sum for each row
        let (y, log_sums) = unsafe { (written(y), written(log_sums)) };
        if needs.contains(&true) {
            keep.push(log_sums);
        }
        joined(y, [s.batch, s.heads, s.queries, s.value_dim])
    }

    fn keeps(&self, needs: &[bool]) -> Vec<bool> {
        vec![needs.contains(&true); needs.len()]
    }

    fn backward(&self, grad: &Host, saved: &Saved, needs: &[bool]) -> Vec<Option<Output>> {
        let [q, k, v] = [saved.input(0), saved.input(1), saved.input(2)];
        let bias = saved.inputs.get(3).and_then(Option::as_ref);
        let s = Sizes::new(q.shape(), k.shape(), v.shape());
        let mut dq = uninit(s.batch * s.queries * s.heads * s.dim);
        let mut dk = vec![0.0; s.batch * s.keys * s.kv_heads * s.dim];
        let mut dv = vec![0.0; s.batch * s.keys * s.kv_heads * s.value_dim];
        let dqs = Shared::new(&mut dq);
        let [dks, dvs] = [&mut dk, &mut dv].map(|data| Shared::new(data));
        par::ranges(s.batch * s.kv_heads, 1, s.cost() * 3, |range| {
            let mut scratch = Default::default();
            for index in range {
                let (b, kv) = (index / s.kv_heads, index % s.kv_heads);
                let group = s.heads / s.kv_heads;
                for head in kv * group..(kv + 1) * group {
                    let sums = &saved.buffers[0][(b * s.heads + head) * s.queries..][..s.queries];
                    let kv_start = b * s.keys * s.kv_heads + kv;
                    let start = b * s.queries * s.heads + head;
                    let outputs = [
                        (dqs.at(start * s.dim), s.heads * s.dim),
                        (dks.at(kv_start * s.dim), s.kv_heads * s.dim),
                        (dvs.at(kv_start * s.value_dim), s.kv_heads * s.value_dim),
                    ];
                    let grad = Rows::of(grad, b, head);
                    let head = self.head(s, [q, k, v], bias, b, head);
                    // SAFETY: the task owns this key head and the query heads that share it
                    unsafe { backward(&head, grad, sums, outputs, &mut scratch) };
                }
            }
        });
        // SAFETY: every head has written its columns of all rows
        let dq = unsafe { written(dq) };
        let mut results = vec![
            needs[0].then(|| joined(dq, [s.batch, s.heads, s.queries, s.dim])),
            needs[1].then(|| joined(dk, [s.batch, s.kv_heads, s.keys, s.dim])),
            needs[2].then(|| joined(dv, [s.batch, s.kv_heads, s.keys, s.value_dim])),
        ];
        results.resize_with(needs.len(), || None);
        results
    }
}
