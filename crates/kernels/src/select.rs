//! Rows by index.

use burn::tensor::Tensor;

use crate::host::custom::{Host, HostOp, Output, Saved, apply, fused};
use crate::host::par::{self, Shared, uninit, written};
use crate::host::simd::{Kernel, Simd, each_vector, run};
use crate::reference;

/// Entries of the first axis in a given order, possibly repeated: `y[i] = x[rows[i]]`.
///
/// # Shapes
/// - `x`: `[n, ..]`
/// - returns `[rows.len(), ..]`
///
/// # Panics
/// If an index is not below `n`.
pub fn select<const D: usize>(x: Tensor<D>, rows: &[usize]) -> Tensor<D> {
    let dims = x.dims();
    if let Some(row) = rows.iter().find(|row| **row >= dims[0]) {
        panic!("select: row {row} of {dims:?}");
    }
    if !fused(&x) || dims.contains(&0) || rows.is_empty() {
        return reference::select(x, rows);
    }
    let rows = rows.to_vec();
    apply(Select { rows }, vec![x.into_dispatch()])
}

#[derive(Debug)]
struct Select {
    rows: Vec<usize>,
}

impl HostOp for Select {
    fn forward(&self, inputs: &[Host], _needs: &[bool], _keep: &mut Vec<Vec<f32>>) -> Output {
        let mut shape = inputs[0].shape().to_vec();
        let (x, width) = (inputs[0].data(), shape[1..].iter().product::<usize>());
        shape[0] = self.rows.len();
        let mut y = uninit(self.rows.len() * width);
        let shared = Shared::new(&mut y);
        par::ranges(self.rows.len(), 1, width / 4 + 1, |range| {
            for row in range {
                // SAFETY: rows of the output are disjoint
                let y = unsafe { shared.slice(row * width, width) };
                y.write_copy_of_slice(&x[self.rows[row] * width..][..width]);
            }
        });
        // SAFETY: every row has been copied
        Output::new(unsafe { written(y) }, &shape)
    }

    fn keeps(&self, _needs: &[bool]) -> Vec<bool> {
        vec![false]
    }

    fn backward(&self, grad: &Host, saved: &Saved, _needs: &[bool]) -> Vec<Option<Output>> {
        let shape = &saved.shapes[0];
        let (count, width) = (shape[0], shape[1..].iter().product::<usize>());
        let mut users = vec![Vec::new(); count];
        for (user, row) in self.rows.iter().enumerate() {
            users[*row].push(user);
        }
        let grad = grad.data();
        let mut dx = uninit(count * width);
        let shared = Shared::new(&mut dx);
        // Some rows may have many users: split them all into pieces.
        let piece = width.min(4096);
        let pieces = width.div_ceil(piece);
        let cost = self.rows.len() * piece / (4 * count) + 1;
        par::ranges(count * pieces, 1, cost, |range| {
            for task in range {
                let (row, from) = (task / pieces, task % pieces * piece);
                let len = piece.min(width - from);
                // SAFETY: pieces are disjoint
                let dx = unsafe { shared.slice(row * width + from, len) };
                for x in &mut *dx {
                    x.write(0.0);
                }
                // SAFETY: written just now
                let dx = unsafe { dx.assume_init_mut() };
                for user in &users[row] {
                    run(Add(&grad[user * width + from..][..len], dx));
                }
            }
        });
        // SAFETY: every piece has been cleared
        vec![Some(Output::new(unsafe { written(dx) }, shape))]
    }
}

/// `y += x`
struct Add<'a>(&'a [f32], &'a mut [f32]);

impl Kernel for Add<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (x, y) = (self.0.as_ptr(), self.1.as_mut_ptr());
        assert!(self.0.len() == self.1.len());
        // SAFETY: `k` floats are left in both
        unsafe {
            each_vector!(self.1.len(), |i, k| {
                let sum = S::add(S::load_n(x.add(i), k), S::load_n(y.add(i), k));
                S::store_n(y.add(i), sum, k);
            });
        }
    }
}
