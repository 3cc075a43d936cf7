//! Weights in 16 bits.

use burn::tensor::{DType, Device, FloatDType, Tensor};
use deem_kernels::{MlpActivation, Mode, linear, mlp, swiglu_mlp, with_mode};

use crate::check::tensor;

/// Output and gradient of the input.
fn run(
    weights: &[Tensor<2>],
    x: &Tensor<2>,
    op: impl Fn(Tensor<2>, &[Tensor<2>]) -> Tensor<2>,
) -> [Vec<f32>; 2] {
    let x = x.clone().autodiff().require_grad();
    let weights: Vec<_> = weights.iter().map(|w| w.clone().autodiff()).collect();
    let y = op(x.clone(), &weights);
    assert_eq!(y.dtype(), DType::F32);
    let grads = (y.clone() * tensor(y.dims(), 9).autodiff())
        .sum()
        .backward();
    let dx = x.grad(&grads).expect("a gradient");
    [y.inner(), dx].map(|x| x.into_data().try_into_vec().unwrap())
}

/// The same bits as for the same numbers in 32 bits.
fn check(sizes: &[[usize; 2]], inputs: usize, op: impl Fn(Tensor<2>, &[Tensor<2>]) -> Tensor<2>) {
    for half in [FloatDType::F16, FloatDType::BF16] {
        let seeds = sizes.iter().zip(1..);
        let narrow: Vec<Tensor<2>> = seeds
            .map(|(size, seed)| tensor(*size, seed).cast(half))
            .collect();
        let wide: Vec<_> = narrow
            .iter()
            .map(|w| w.clone().cast(FloatDType::F32))
            .collect();
        for rows in [1, 3, 5, 13, 270] {
            let x = tensor([rows, inputs], 7);
            for mode in [Mode::Fast, Mode::Reference] {
                with_mode(mode, || {
                    assert_eq!(
                        run(&narrow, &x, &op),
                        run(&wide, &x, &op),
                        "{half:?} {rows}"
                    )
                });
            }
        }
    }
}

#[test]
fn read_as_their_wide_copies() {
    check(&[[37, 21]], 21, |x, w| linear(x, w[0].clone(), None));
    check(&[[18, 70], [33, 18]], 70, |x, w| {
        let bias = |n| Some(tensor([n], 4).autodiff());
        mlp(
            x,
            (w[0].clone(), bias(18)),
            MlpActivation::Gelu,
            (w[1].clone(), bias(33)),
        )
    });
    check(&[[18, 70], [18, 70], [33, 18]], 70, |x, w| {
        swiglu_mlp(x, w[0].clone(), w[1].clone(), w[2].clone())
    });
}

#[test]
fn trained_ones_get_gradients_of_their_own_type() {
    let weight = tensor([6, 5], 1)
        .cast(FloatDType::BF16)
        .autodiff()
        .require_grad();
    let x = tensor([20, 5], 2).autodiff();
    let bias = || Some(Tensor::zeros([6], &Device::flex()).autodiff());
    let plain = linear(x.clone(), weight.clone(), bias());
    let whole = swiglu_mlp(
        x,
        weight.clone(),
        weight.clone(),
        tensor([3, 6], 3).autodiff(),
    );
    let grads = (plain.sum() + whole.sum()).backward();
    assert_eq!(
        weight.grad(&grads).expect("a gradient").dtype(),
        DType::BF16
    );
}
