//! Attention of single queries, each over keys and values of its own.

use std::ops::Range;

use burn_flex::FlexTensor;

use crate::host::custom::{Host, Output};
use crate::host::math::exp;
use crate::host::par::{self, Shared};
use crate::host::simd::{Kernel, LANES, Simd, each_vector, run};

/// What the query of a row sees.
pub(super) struct Row<'a> {
    /// Keys and values, `[batch, heads, positions, dim]`.
    pub stores: &'a [Host; 2],
    pub batch: usize,
    pub positions: Range<usize>,
}

/// # Shapes
/// - `query`: `[rows, query_heads, 1, dim]`
/// - returns `[rows, query_heads, 1, dim]`
pub(super) fn step(query: &Host, rows: &[Row], scale: f32) -> FlexTensor {
    let [heads, dim] = [query.shape()[1], query.shape()[3]];
    for Row {
        stores: [keys, values],
        batch,
        positions,
    } in rows
    {
        let (shape, same) = (keys.shape(), values.shape());
        let fits = heads.is_multiple_of(shape[1].max(1)) && shape[3] == dim && same == shape;
        assert!(
            fits && *batch < shape[0] && positions.end <= shape[2] && !positions.is_empty(),
            "attend: query {:?}, keys {shape:?}, values {same:?}, positions {positions:?}",
            query.shape()
        );
    }
    let mut y = vec![0.0; rows.len() * heads * dim];
    let shared = Shared::new(&mut y);
    let longest = rows.iter().map(|row| row.positions.len()).max();
    let cost = longest.unwrap_or(0) * (dim / 4 + 8) / 2 + 50;
    par::ranges(rows.len() * heads, 1, cost, |range| {
        let mut scores = Vec::new();
        for index in range {
            let (row, head) = (index / heads, index % heads);
            let Row {
                stores,
                batch,
                positions,
            } = &rows[row];
            let own = |store: &'_ Host| {
                let kv = head * store.shape()[1] / heads;
                let start = batch * store.stride(0) + kv * store.stride(1);
                (start + positions.start * store.stride(2), store.stride(2))
            };
            let ([keys, values], [k, v]) = (stores.each_ref(), stores.each_ref().map(own));
            scores.resize(positions.len(), 0.0);
            run(Head {
                query: &query.data()[row * query.stride(0) + head * query.stride(1)..][..dim],
                keys: (&keys.data()[k.0..], k.1),
                values: (&values.data()[v.0..], v.1),
                scale,
                scores: &mut scores,
                // SAFETY: heads are disjoint
                y: unsafe { shared.slice(index * dim, dim) },
            });
        }
    });
    Output::new(y, &[rows.len(), heads, 1, dim]).into_tensor()
}

/// One query of one head. Keys and values: data and distance of rows.
struct Head<'a> {
    query: &'a [f32],
    keys: (&'a [f32], usize),
    values: (&'a [f32], usize),
    scale: f32,
    /// Room for a score of each position.
    scores: &'a mut [f32],
    y: &'a mut [f32],
}

impl Kernel for Head<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self {
            query,
            keys: (keys, key_row),
            values: (values, value_row),
            scale,
            scores,
            y,
        } = self;
        let (dim, seen) = (query.len(), scores.len());
        assert!(keys.len() >= (seen - 1) * key_row + dim && y.len() == dim);
        assert!(values.len() >= (seen - 1) * value_row + dim);
        // SAFETY: rows have `dim` floats each, as many as there are scores
        unsafe {
            let p = scores.as_mut_ptr();
            for position in 0..seen {
                let (q, k) = (query.as_ptr(), keys.as_ptr().add(position * key_row));
                let mut sum = S::splat(0.0);
                each_vector!(dim, |i, n| {
                    sum = S::fma(S::load_n(q.add(i), n), S::load_n(k.add(i), n), sum);
                });
                *p.add(position) = S::sum(sum) * scale;
            }
            let lowest = S::splat(f32::NEG_INFINITY);
            let mut top = lowest;
            each_vector!(seen, |i, n| {
                top = S::max(S::first_n(S::load_n(p.add(i), n), n, lowest), top);
            });
            let top = S::splat(S::maximum(top));
            let mut sum = S::splat(0.0);
            each_vector!(seen, |i, n| {
                let e = exp::<S>(S::sub(S::load_n(p.add(i), n), top));
                S::store_n(p.add(i), e, n);
                sum = S::add(sum, S::first_n(e, n, S::splat(0.0)));
            });
            let inverse = S::splat(1.0 / S::sum(sum));
            // Four vectors of values at a time, which stay in registers.
            let mut first = 0;
            while first < dim {
                let n: [usize; 4] =
                    std::array::from_fn(|j| dim.saturating_sub(first + j * LANES).min(LANES));
                let mut sums = [S::splat(0.0); 4];
                for position in 0..seen {
                    let v = values.as_ptr().add(position * value_row + first);
                    let weight = S::splat(*p.add(position));
                    for (j, sum) in sums.iter_mut().enumerate() {
                        if n[j] > 0 {
                            *sum = S::fma(weight, S::load_n(v.add(j * LANES), n[j]), *sum);
                        }
                    }
                }
                for (j, sum) in sums.into_iter().enumerate() {
                    if n[j] > 0 {
                        let at = y.as_mut_ptr().add(first + j * LANES);
                        S::store_n(at, S::mul(sum, inverse), n[j]);
                    }
                }
                first += 4 * LANES;
            }
        }
    }
}
