//! Attention of single queries, each over keys and values of its own.

use std::mem::MaybeUninit;
use std::ops::Range;

use burn_flex::FlexTensor;

use crate::host::custom::{Host, Output};
use crate::host::math::exp;
use crate::host::par::{self, Shared, uninit, written};
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
    let kv_heads = rows
        .first()
        .map_or(1, |row| row.stores[0].shape()[1].max(1));
    for Row {
        stores: [keys, values],
        batch,
        positions,
    } in rows
    {
        let (shape, same) = (keys.shape(), values.shape());
        let grouped = shape[1] == kv_heads && heads.is_multiple_of(kv_heads);
        let fits = grouped && shape[3] == dim && same == shape;
        assert!(
            fits && *batch < shape[0] && positions.end <= shape[2] && !positions.is_empty(),
            "attend: query {:?}, keys {shape:?}, values {same:?}, positions {positions:?}",
            query.shape()
        );
    }
    let group = heads / kv_heads;
    let mut y = uninit(rows.len() * heads * dim);
    let shared = Shared::new(&mut y);
    let longest = rows.iter().map(|row| row.positions.len()).max();
    let cost = (longest.unwrap_or(0) * (dim / 4 + 8) / 2 + 50) * group;
    par::ranges(rows.len() * kv_heads, 1, cost, |range| {
        let mut scores = Vec::new();
        for index in range {
            let (row, kv) = (index / kv_heads, index % kv_heads);
            let Row {
                stores,
                batch,
                positions,
            } = &rows[row];
            // Lanes stand for the same positions whatever is seen of them.
            let first = positions.start / LANES * LANES;
            let own = |store: &'_ Host| {
                let start = batch * store.stride(0) + kv * store.stride(1);
                (start + first * store.stride(2), store.stride(2))
            };
            let ([keys, values], [k, v]) = (stores.each_ref(), stores.each_ref().map(own));
            scores.resize(2 * (positions.end - first), 0.0);
            let mut member = 0;
            while member < group {
                let head = kv * group + member;
                let queries = if member + 1 < group { 2 } else { 1 };
                let start = row * query.stride(0) + head * query.stride(1);
                run(Heads {
                    queries: (&query.data()[start..], query.stride(1)),
                    count: queries,
                    dim,
                    keys: (&keys.data()[k.0..], k.1),
                    values: (&values.data()[v.0..], v.1),
                    hidden: positions.start - first,
                    scale,
                    scores: &mut scores,
                    // SAFETY: heads are disjoint
                    y: unsafe { shared.slice((row * heads + head) * dim, queries * dim) },
                });
                member += queries;
            }
        }
    });
    // SAFETY: every head has been written
    let y = unsafe { written(y) };
    Output::new(y, &[rows.len(), heads, 1, dim]).into_tensor()
}

/// One query of each of one or two heads that share keys and values. All but `y`: data and distance of rows.
struct Heads<'a> {
    queries: (&'a [f32], usize),
    count: usize,
    dim: usize,
    keys: (&'a [f32], usize),
    values: (&'a [f32], usize),
    /// Positions at the beginning that are not seen.
    hidden: usize,
    scale: f32,
    /// Room for a score of each position and head.
    scores: &'a mut [f32],
    /// All of it is written.
    y: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Heads<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's
        unsafe {
            match self.count {
                1 => self.all::<S, 1>(),
                _ => self.all::<S, 2>(),
            }
        }
    }
}

impl Heads<'_> {
    /// The arithmetic of [`crate::attention`] for `G` queries, so that a position that is read alone is read as among
    /// others: a score is a sum over the head's width in order, probabilities are divided by their sum before values
    /// are weighed by them, and these are added in the order of positions.
    ///
    /// # Safety
    /// See [`Simd`].
    #[inline(always)]
    unsafe fn all<S: Simd, const G: usize>(self) {
        let (dim, positions) = (self.dim, self.scores.len() / 2);
        let (keys, values) = (self.keys, self.values);
        assert!(self.count == G && self.y.len() == G * dim && positions > self.hidden);
        assert!(self.queries.0.len() >= (G - 1) * self.queries.1 + dim);
        assert!(keys.0.len() >= (positions - 1) * keys.1 + dim);
        assert!(values.0.len() >= (positions - 1) * values.1 + dim);
        let query: [*const f32; G] =
            std::array::from_fn(|g| self.queries.0[g * self.queries.1..].as_ptr());
        let p = self.scores.as_mut_ptr();
        let score: [*mut f32; G] = std::array::from_fn(|g| p.wrapping_add(g * positions));
        // SAFETY: rows of keys, values and queries have `dim` floats, each head `positions` scores
        unsafe {
            each_vector!(positions, |at, n| {
                let sums =
                    products::<S, G>(query, (keys.0.as_ptr().add(at * keys.1), keys.1), n, dim);
                for g in 0..G {
                    S::store_n(score[g].add(at), sums[g], n);
                }
            });
            for score in score {
                probabilities::<S>(score, positions, self.hidden, self.scale);
            }
            let y = self.y.as_mut_ptr().cast::<f32>();
            let mut first = 0;
            while first < dim {
                let v = (values.0.as_ptr().add(first), values.1);
                let y: [*mut f32; G] = std::array::from_fn(|g| y.wrapping_add(g * dim + first));
                first += match (dim - first) / LANES {
                    0 => weighed::<S, G, 1>(score, positions, v, y, dim - first),
                    1 => weighed::<S, G, 1>(score, positions, v, y, LANES),
                    2 => weighed::<S, G, 2>(score, positions, v, y, LANES),
                    _ => weighed::<S, G, 3>(score, positions, v, y, LANES),
                };
            }
        }
    }
}

/// Products of `G` queries with up to `LANES` keys, each summed in order.
///
/// # Safety
/// Queries and keys have `dim` floats; see [`Simd`].
#[inline(always)]
unsafe fn products<S: Simd, const G: usize>(
    query: [*const f32; G],
    (keys, row): (*const f32, usize),
    count: usize,
    dim: usize,
) -> [S::V; G] {
    // SAFETY: the caller's
    unsafe {
        let mut sums = [S::splat(0.0); G];
        each_vector!(dim, |at, n| {
            let mut square = [S::splat(0.0); LANES];
            for (key, column) in square[..count].iter_mut().enumerate() {
                *column = S::load_n(keys.add(key * row + at), n);
            }
            let square = S::transpose(square);
            for (i, keys) in square[..n].iter().enumerate() {
                for g in 0..G {
                    sums[g] = S::fma(S::splat(*query[g].add(at + i)), *keys, sums[g]);
                }
            }
        });
        sums
    }
}

/// Turns scores into probabilities; those of the first positions, which are hidden, into zeros.
///
/// # Safety
/// There are so many scores, at least one of which is not hidden; see [`Simd`].
#[inline(always)]
unsafe fn probabilities<S: Simd>(p: *mut f32, positions: usize, hidden: usize, scale: f32) {
    // SAFETY: the caller's
    unsafe {
        for position in 0..hidden {
            *p.add(position) = f32::NEG_INFINITY;
        }
        let (scale, lowest) = (S::splat(scale), S::splat(f32::NEG_INFINITY));
        let mut top = lowest;
        each_vector!(positions, |at, n| {
            let score = S::mul(S::load_n(p.add(at), n), scale);
            S::store_n(p.add(at), score, n);
            top = S::max(S::first_n(score, n, lowest), top);
        });
        let top = S::splat(S::maximum(top));
        let mut sum = S::splat(0.0);
        each_vector!(positions, |at, n| {
            let e = exp::<S>(S::sub(S::load_n(p.add(at), n), top));
            S::store_n(p.add(at), e, n);
            sum = S::add(sum, S::first_n(e, n, S::splat(0.0)));
        });
        let inverse = S::splat(1.0 / S::sum(sum));
        each_vector!(positions, |at, n| {
            S::store_n(p.add(at), S::mul(S::load_n(p.add(at), n), inverse), n);
        });
    }
}

/// Writes sums of values, weighed by probabilities: `W` vectors, the last of `last` floats. Returns how many floats.
///
/// # Safety
/// As many values and probabilities as positions, and room for the sums; see [`Simd`].
#[inline(always)]
#[allow(clippy::needless_range_loop)] // heads and vectors are indices of several arrays at once
unsafe fn weighed<S: Simd, const G: usize, const W: usize>(
    p: [*mut f32; G],
    positions: usize,
    (values, row): (*const f32, usize),
    y: [*mut f32; G],
    last: usize,
) -> usize {
    let part = |w: usize| if w + 1 == W { last } else { LANES };
    // SAFETY: the caller's
    unsafe {
        let mut sums = [[S::splat(0.0); W]; G];
        for position in 0..positions {
            let v = values.add(position * row);
            let mut loaded = [S::splat(0.0); W];
            for w in 0..W {
                loaded[w] = S::load_n(v.add(w * LANES), part(w));
            }
            for g in 0..G {
                let weight = S::splat(*p[g].add(position));
                for w in 0..W {
                    sums[g][w] = S::fma(weight, loaded[w], sums[g][w]);
                }
            }
        }
        for g in 0..G {
            for w in 0..W {
                S::store_n(y[g].add(w * LANES), sums[g][w], part(w));
            }
        }
    }
    (W - 1) * LANES + last
}
