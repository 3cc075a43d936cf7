//! Affine map of the last axis.

use burn::tensor::Tensor;

use crate::host::custom::{Host, HostOp, Output, Saved, apply, fused, readable};
use crate::host::element::{Element, Elements, with_elements};
use crate::host::gemm::{Left, Out, Packed, Right, Start, product_packing, product_parallel};
use crate::host::par::{self, Shared, uninit, written};
use crate::host::simd::{Kernel, LANES, Simd, run};
use crate::reference;

/// `y = x · weightᵀ + bias` over the last axis.
///
/// # Shapes
/// - `x`: `[.., in]`
/// - `weight`: `[out, in]`; a frozen one may be in 16 bits and is widened as it is read
/// - `bias`: `[out]`
/// - returns `[.., out]`, of the type of `x`
///
/// # Panics
/// If the last axis of `x` is not `in`.
pub fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    if !fused(&x) || !readable(&weight) {
        return reference::linear(x, weight, bias);
    }
    let (dims, [outputs, inputs]) = (x.dims(), weight.dims());
    assert_eq!(
        dims[D - 1],
        inputs,
        "linear: {dims:?} against weight {:?}",
        [outputs, inputs]
    );
    let mut tensors = vec![x.into_dispatch(), weight.into_dispatch()];
    if let Some(bias) = bias {
        assert_eq!(
            bias.dims(),
            [outputs],
            "linear: bias against {outputs} outputs"
        );
        tensors.push(bias.into_dispatch());
    }
    apply(Linear, tensors)
}

#[derive(Debug)]
struct Linear;

impl HostOp for Linear {
    fn forward(&self, inputs: &[Host], _needs: &[bool], _keep: &mut Vec<Vec<f32>>) -> Output {
        let (x, weight) = (&inputs[0], &inputs[1]);
        let [n, k] = [weight.shape()[0], weight.shape()[1]];
        let (rows, shape) = rows_of(x.shape(), n);
        let bias = inputs.get(2).map(Host::data);
        let data = affine(x.data(), rows, weight.elements(), [n, k], bias);
        Output::new(data, &shape)
    }

    fn keeps(&self, needs: &[bool]) -> Vec<bool> {
        let mut kept = vec![needs[1], needs[0]];
        kept.resize(needs.len(), false);
        kept
    }

    fn backward(&self, grad: &Host, saved: &Saved, needs: &[bool]) -> Vec<Option<Output>> {
        let [n, k] = [saved.shapes[1][0], saved.shapes[1][1]];
        let rows = saved.shapes[0].iter().product::<usize>() / k.max(1);
        let dx = needs[0].then(|| {
            let data = input_gradient(grad.data(), rows, saved.input(1).elements(), [n, k]);
            Output::new(data, &saved.shapes[0])
        });
        let dw = needs[1].then(|| {
            let data = weight_gradient(grad.data(), saved.input(0).data(), rows, [n, k]);
            Output::new(data, &saved.shapes[1])
        });
        let db = (needs.len() > 2 && needs[2])
            .then(|| Output::new(column_sums(grad.data(), rows, n), &saved.shapes[2]));
        vec![dx, dw, db]
    }
}

/// How many rows a tensor of this shape has, and the shape with another last axis.
pub(crate) fn rows_of(shape: &[usize], outputs: usize) -> (usize, Vec<usize>) {
    let mut shape = shape.to_vec();
    let rows = shape[..shape.len() - 1].iter().product();
    *shape.last_mut().expect("at least one axis") = outputs;
    (rows, shape)
}

/// `x [rows, k] · weight[n, k]ᵀ + bias`
pub(crate) fn affine(
    x: &[f32],
    rows: usize,
    weight: Elements,
    [n, k]: [usize; 2],
    bias: Option<&[f32]>,
) -> Vec<f32> {
    assert!(x.len() >= rows * k);
    if rows <= FEW {
        return with_elements!(weight, |weight| dots(x, rows, weight, [n, k], bias));
    }
    assert!(bias.is_none_or(|bias| bias.len() == n));
    let mut y = uninit(rows * n);
    let start = bias.map_or(Start::Zero, Start::Bias);
    let out = Out {
        ptr: y.as_mut_ptr().cast(),
        row: n,
    };
    let left = Left::new(x.as_ptr(), k, 1, k);
    // SAFETY: `x` holds `rows * k` and `y` `rows * n` floats, all of which the product writes
    unsafe {
        with_elements!(weight, |weight| {
            product_packing(rows, left, Right::columns(weight, k), [k, n], out, start);
        });
        written(y)
    }
}

/// Rows so few that arranging the weights would take longer than reading them.
const FEW: usize = 4;

/// [`affine`] of at most [`FEW`] rows, an output at a time: each weight is read once, where it lies.
fn dots<T: Element>(
    x: &[f32],
    rows: usize,
    weight: &[T],
    [n, k]: [usize; 2],
    bias: Option<&[f32]>,
) -> Vec<f32> {
    /// Made where nobody else uses the places of outputs.
    struct Dots<'a, T> {
        x: &'a [f32],
        weight: &'a [T],
        rows: usize,
        k: usize,
        /// Row `r` of outputs starts at `y + r * n`.
        y: *mut f32,
        n: usize,
    }
    impl<T: Element> Kernel for Dots<'_, T> {
        type Out = ();
        #[inline(always)]
        unsafe fn run<S: Simd>(self) {
            let Self {
                x,
                weight,
                rows,
                k,
                y,
                n,
            } = self;
            for (output, w) in weight.chunks_exact(k).enumerate() {
                for row in 0..rows {
                    // SAFETY: both have `k` floats, and `y` a place for each row
                    unsafe {
                        let (x, w) = (x[row * k..][..k].as_ptr(), w.as_ptr());
                        let mut sums = [S::splat(0.0); 4];
                        let mut i = 0;
                        while i + 4 * LANES <= k {
                            for (j, sum) in sums.iter_mut().enumerate() {
                                let at = i + j * LANES;
                                let w = T::load_n::<S>(w.add(at), LANES);
                                *sum = S::fma(S::load(x.add(at)), w, *sum);
                            }
                            i += 4 * LANES;
                        }
                        while i < k {
                            let lanes = LANES.min(k - i);
                            let (a, b) =
                                (S::load_n(x.add(i), lanes), T::load_n::<S>(w.add(i), lanes));
                            sums[0] = S::fma(a, b, sums[0]);
                            i += lanes;
                        }
                        let [a, b, c, d] = sums;
                        *y.add(row * n + output) = S::sum(S::add(S::add(a, b), S::add(c, d)));
                    }
                }
            }
        }
    }
    let mut y = vec![0.0; rows * n];
    let shared = Shared::new(&mut y);
    par::ranges(n, 16, rows * k / 16 + 1, |range| {
        run(Dots {
            x,
            weight: &weight[range.start * k..range.end * k],
            rows,
            k,
            // Ranges of outputs are disjoint.
            y: shared.at(range.start),
            n,
        });
    });
    if let Some(bias) = bias {
        for y in y.chunks_exact_mut(n) {
            y.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
        }
    }
    y
}

/// `grad [rows, n] · weight[n, k]`
pub(crate) fn input_gradient(
    grad: &[f32],
    rows: usize,
    weight: Elements,
    [n, k]: [usize; 2],
) -> Vec<f32> {
    assert!(grad.len() >= rows * n);
    let mut dx = uninit(rows * k);
    let out = Out {
        ptr: dx.as_mut_ptr().cast(),
        row: k,
    };
    let left = Left::new(grad.as_ptr(), n, 1, n);
    // SAFETY: `grad` holds `rows * n` and `dx` `rows * k` floats, all of which the product writes
    unsafe {
        with_elements!(weight, |weight| {
            product_packing(rows, left, Right::rows(weight, k), [n, k], out, Start::Zero);
        });
        written(dx)
    }
}

/// `grad[rows, n]ᵀ · x[rows, k]`, in bands of rows that stay in the first-level cache.
pub(crate) fn weight_gradient(
    grad: &[f32],
    x: &[f32],
    rows: usize,
    [n, k]: [usize; 2],
) -> Vec<f32> {
    const BAND: usize = 256;
    assert!(grad.len() >= rows * n && x.len() >= rows * k);
    // Many rows: parts of them are summed on their own. Else threads share the outputs.
    let parts = if rows >= 2 * n && rows * n * k > 3_000_000 {
        par::parts(rows, BAND, n * k, rows * (n + k))
    } else {
        1
    };
    let mut sums = vec![0.0; parts * n * k];
    let shared = Shared::new(&mut sums);
    par::each_part(parts, rows * n * k / 32 / parts, |part| {
        // SAFETY: parts are disjoint
        let sums = unsafe { shared.slice(part * n * k, n * k) };
        let mut packed = Packed::default();
        let (from, to) = (rows * part / parts, rows * (part + 1) / parts);
        for first in (from..to).step_by(BAND) {
            let len = BAND.min(to - first);
            let (grad, x) = (&grad[first * n..], &x[first * k..]);
            add_outer(sums, (grad, n), (x, k), len, &mut packed);
        }
    });
    add_parts(&mut sums, n * k);
    sums
}

/// `sums += leftᵀ · right` over `len` rows.
///
/// - `left`: data and distance of its rows, of which the first columns count, as many as `sums` has rows
/// - `right`: `[len, k]`, and `k`
/// - `packed`: room for the right side, reused from call to call
pub(crate) fn add_outer(
    sums: &mut [f32],
    (left, row): (&[f32], usize),
    (right, k): (&[f32], usize),
    len: usize,
    packed: &mut Packed,
) {
    let n = sums.len() / k.max(1);
    assert!(n <= row && left.len() >= (len - 1) * row + n && right.len() >= len * k);
    packed.fill(Right::rows(right, k), len, k);
    let left = Left::new(left.as_ptr(), 1, row, len);
    let out = Out {
        ptr: sums.as_mut_ptr(),
        row: k,
    };
    // SAFETY: checked above
    unsafe { product_parallel(n, left, packed, out, Start::Accumulate) };
}

/// Adds all parts of `len` floats into the first, and drops the others.
pub(crate) fn add_parts(sums: &mut Vec<f32>, len: usize) {
    if sums.len() > len {
        let (total, others) = sums.split_at_mut(len);
        let (shared, others) = (Shared::new(total), &*others);
        par::ranges(len, 16, others.len() / len / 4 + 1, |range| {
            // SAFETY: ranges are disjoint
            let total = unsafe { shared.slice(range.start, range.len()) };
            for other in others.chunks_exact(len) {
                let other = &other[range.clone()];
                total.iter_mut().zip(other).for_each(|(a, b)| *a += b);
            }
        });
    }
    sums.truncate(len);
}

/// Sums of the columns of `x [rows, n]`.
pub(crate) fn column_sums(x: &[f32], rows: usize, n: usize) -> Vec<f32> {
    struct Sums<'a>(&'a [f32], &'a mut [f32]);
    impl Kernel for Sums<'_> {
        type Out = ();
        #[inline(always)]
        unsafe fn run<S: Simd>(self) {
            let n = self.1.len();
            for row in self.0.chunks_exact(n) {
                for (sum, x) in self.1.iter_mut().zip(row) {
                    *sum += x;
                }
            }
        }
    }
    let parts = par::parts(rows, 50_000 / n.max(1), n, rows * n);
    let mut sums = vec![0.0; parts * n];
    let shared = Shared::new(&mut sums);
    let width = rows.div_ceil(parts);
    par::ranges(parts, 1, width * n, |range| {
        for part in range {
            let (from, to) = ((part * width).min(rows), ((part + 1) * width).min(rows));
            // SAFETY: parts are disjoint
            run(Sums(&x[from * n..to * n], unsafe {
                shared.slice(part * n, n)
            }));
        }
    });
    add_parts(&mut sums, n);
    sums
}
