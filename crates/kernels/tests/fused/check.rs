//! Runs an operation in both modes and compares outputs and gradients.

use burn::tensor::{Device, Tensor};
use deem_kernels::{Mode, with_mode};

/// Numbers in -1..1 from a small generator.
pub fn numbers(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

pub fn tensor<const D: usize>(dims: [usize; D], seed: u64) -> Tensor<D> {
    let values = numbers(dims.iter().product(), seed);
    Tensor::<1>::from_floats(values.as_slice(), &Device::flex()).reshape(dims)
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().iter::<f32>().collect()
}

/// Relative distance in the Euclidean norm.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let square = |x: f64| x * x;
    let difference: f64 = a
        .iter()
        .zip(b)
        .map(|(a, b)| square(f64::from(*a) - f64::from(*b)))
        .sum();
    let norm: f64 = b.iter().map(|b| square(f64::from(*b))).sum();
    if difference == 0.0 {
        0.0
    } else {
        (difference / norm.max(1e-20)).sqrt()
    }
}

/// Output, and the gradient of each leaf that wants one, of a random linear form of the output.
fn run<const D: usize>(
    mode: Mode,
    leaves: &[Vec<f32>],
    wanted: &[bool],
    op: &dyn Fn(&[Tensor<1>]) -> Tensor<D>,
) -> Vec<Vec<f32>> {
    with_mode(mode, || {
        let device = Device::flex().autodiff();
        let inputs: Vec<_> = leaves
            .iter()
            .zip(wanted)
            .map(|(values, wanted)| {
                let x = Tensor::<1>::from_floats(values.as_slice(), &device);
                if *wanted { x.require_grad() } else { x }
            })
            .collect();
        let output = op(&inputs);
        let mut results = vec![values(output.clone())];
        if wanted.contains(&true) {
            let count = output.dims().iter().product();
            let weights = Tensor::<1>::from_floats(numbers(count, 99).as_slice(), &device);
            let mut grads = (output.reshape([count]) * weights).sum().backward();
            for (input, wanted) in inputs.iter().zip(wanted) {
                if *wanted {
                    let gradient = input.grad_remove(&mut grads).expect("a gradient");
                    results.push(values(gradient));
                } else {
                    assert!(input.grad_remove(&mut grads).is_none());
                }
            }
        }
        results
    })
}

/// Output and all gradients of the fused operation.
pub fn fast<const D: usize>(
    leaves: &[Vec<f32>],
    op: &dyn Fn(&[Tensor<1>]) -> Tensor<D>,
) -> Vec<Vec<f32>> {
    run(Mode::Fast, leaves, &vec![true; leaves.len()], op)
}

/// Both modes agree for leaves of the given values, whichever of them want gradients.
pub fn check_values<const D: usize>(leaves: &[Vec<f32>], op: impl Fn(&[Tensor<1>]) -> Tensor<D>) {
    let n = leaves.len();
    let mut cases = vec![vec![true; n], vec![false; n]];
    if n > 1 {
        cases.extend((0..n).map(|i| (0..n).map(|j| i == j).collect()));
    }
    for wanted in cases {
        let fast = run(Mode::Fast, leaves, &wanted, &op);
        let reference = run(Mode::Reference, leaves, &wanted, &op);
        for (i, (fast, reference)) in fast.iter().zip(&reference).enumerate() {
            assert!(
                fast.iter().all(|x| x.is_finite()),
                "result {i} is not finite"
            );
            let error = distance(fast, reference);
            assert!(
                error < 1e-4,
                "result {i}, gradients {wanted:?}: distance {error:e}"
            );
        }
    }
}

/// [`check_values`] for random leaves of the given sizes.
pub fn check<const D: usize>(sizes: &[usize], op: impl Fn(&[Tensor<1>]) -> Tensor<D>) {
    let leaves: Vec<_> = sizes
        .iter()
        .enumerate()
        .map(|(i, n)| numbers(*n, i as u64 + 1))
        .collect();
    check_values(&leaves, op);
}
