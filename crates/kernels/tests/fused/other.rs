//! Cross-entropy, rotary encoding, deformable attention, AdamW and block checkpoint.

use burn::tensor::{Device, Gradients, Int, Tensor};
use deem_kernels::{self as k, AdamW, Mode, with_mode};

use crate::check::{check, check_values, numbers, tensor};

#[test]
fn cross_entropy() {
    let targets = [3, -100, 0, 6, -100, 2];
    for (classes, scale) in [(7, 1.0), (40, 50.0), (1000, 1e4)] {
        check(&[6 * classes], |x| {
            let targets = Tensor::<1, Int>::from_ints(targets, &Device::flex());
            k::cross_entropy(x[0].clone().reshape([6, classes]) * scale, targets, -100)
        });
    }
}

#[test]
#[should_panic(expected = "target 7 of 7 classes")]
fn cross_entropy_rejects_a_bad_target() {
    let targets = Tensor::<1, Int>::from_ints([7], &Device::flex());
    // The reference panics inside of Burn.
    with_mode(Mode::Fast, || {
        k::cross_entropy(tensor([1, 7], 1), targets, -100)
    });
}

#[test]
fn rotary() {
    for (batch, tables, dim) in [(2, 1, 6), (3, 3, 32), (1, 1, 34)] {
        let angles = tensor([tables, 5, dim], 3) * 3.0;
        check(&[batch * 4 * 5 * dim], |x| {
            let x = x[0].clone().reshape([batch, 5, 4, dim]).swap_dims(1, 2);
            k::rotary(x, angles.clone().cos(), angles.clone().sin())
        });
    }
}

#[test]
fn rotary_tables_get_gradients() {
    check(&[2 * 3 * 4, 3 * 4, 3 * 4], |x| {
        let [cos, sin] = [&x[1], &x[2]].map(|x| x.clone().reshape([1, 3, 4]));
        k::rotary(x[0].clone().reshape([1, 2, 3, 4]), cos, sin)
    });
}

#[test]
fn deformable_attention() {
    let shapes = [[4, 5], [2, 3], [1, 1]];
    let (batch, queries, heads, dim, points) = (2, 6, 3, 10, 4);
    let samples = batch * queries * heads * 3 * points;
    let leaves = [
        numbers(batch * 27 * heads * dim, 1),
        // Also outside of the maps, on both sides
        numbers(samples * 2, 2)
            .iter()
            .map(|x| x * 0.8 + 0.5)
            .collect(),
        numbers(samples, 3),
    ];
    check_values(&leaves, |x| {
        k::deformable_attention(
            x[0].clone().reshape([batch, 27, heads, dim]),
            &shapes,
            x[1].clone().reshape([batch, queries, heads, 3, points, 2]),
            x[2].clone().reshape([batch, queries, heads, 3, points]),
        )
    });
}

#[test]
fn deformable_attention_reads_pixel_centres() {
    let device = Device::flex();
    let value = Tensor::<1>::from_floats([1.0, 2.0, 3.0, 4.0], &device).reshape([1, 4, 1, 1]);
    // Centre of the top right pixel, centre of the map, a corner half outside in both directions
    let places = [0.75, 0.25, 0.5, 0.5, 0.0, 0.0];
    let places = Tensor::<1>::from_floats(places, &device).reshape([1, 3, 1, 1, 1, 2]);
    let weights = Tensor::ones([1, 3, 1, 1, 1], &device);
    let y = k::deformable_attention(value, &[[2, 2]], places, weights);
    let y: Vec<f32> = y.into_data().iter::<f32>().collect();
    assert_eq!(y, [2.0, 2.5, 0.25]);
}

#[test]
fn adamw() {
    let options = AdamW {
        lr: 0.1,
        beta1: 0.9,
        beta2: 0.99,
        eps: 1e-8,
        weight_decay: 0.05,
        step: 3,
    };
    let run = |mode| {
        with_mode(mode, || {
            let (p, g) = (tensor([1001], 1), tensor([1001], 2));
            let (m, v) = (tensor([1001], 3), tensor([1001], 4).square());
            let (kept, before) = (p.clone(), p.to_data());
            let (p, m, v) = k::adamw_step(p, g, m, v, options);
            assert_eq!(kept.to_data(), before, "a shared tensor was changed");
            [p, m, v].map(|x| x.into_data().iter::<f32>().collect::<Vec<_>>())
        })
    };
    for (fast, reference) in run(Mode::Fast).iter().zip(run(Mode::Reference)) {
        for (a, b) in fast.iter().zip(reference) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }
}

#[test]
fn adamw_first_step_by_hand() {
    let device = Device::flex();
    let x = |value: f32| Tensor::<1>::from_floats([value], &device);
    let options = AdamW {
        lr: 0.1,
        beta1: 0.9,
        beta2: 0.999,
        eps: 0.0,
        weight_decay: 0.5,
        step: 1,
    };
    let (p, m, v) = k::adamw_step(x(2.0), x(-4.0), x(0.0), x(0.0), options);
    // The first step moves by the learning rate against the sign of the gradient.
    for (value, expected) in [(p, 2.0 * 0.95 + 0.1), (m, -0.4), (v, 0.016)] {
        assert!((value.into_scalar::<f32>() - expected).abs() < 1e-6);
    }
}

/// A block put on the graph by what it computes again: inputs and a weight get the gradients that they get
/// where everything is kept.
#[test]
fn recomputed() {
    let inputs = || {
        [tensor([1, 4, 6], 6), tensor([1, 4, 6], 7)]
            .map(|x| Tensor::<3>::from_inner(x).require_grad())
    };
    let weight = Tensor::<2>::from_inner(tensor([6, 6], 8)).require_grad();
    let block = |x: Vec<Tensor<3>>, weight: Tensor<2>| {
        k::gelu(k::linear(x[0].clone(), weight, None)) * x[1].clone() + x[0].clone()
    };
    let gradients = |x: &[Tensor<3>; 2], y: Tensor<3>| {
        let gradients = y.square().sum().backward();
        let of_weight = weight.grad(&gradients).expect("a gradient");
        let of_inputs = x.clone().map(|x| x.grad(&gradients).expect("a gradient"));
        (of_inputs, of_weight)
    };
    let x = inputs();
    let plain = gradients(&x, block(x.clone().into(), weight.clone()));

    let x = inputs();
    let place = k::Leaf::of(&weight).expect("a trained weight");
    let value = weight.clone().inner();
    let output = block(x.clone().map(Tensor::inner).into(), value.clone());
    let y = k::recomputed(x.clone().into(), output, move |x| {
        let fresh = value.clone().autodiff().require_grad();
        let output = block(x, fresh.clone());
        (output, move |gradients: &mut Gradients| {
            let gradient = fresh.grad_remove(gradients).expect("a gradient");
            vec![k::LeafGradient::new(place, gradient)]
        })
    });
    let again = gradients(&x, y);
    let close = |a: Tensor<1>, b: Tensor<1>| {
        assert!((a - b).abs().max().into_scalar::<f32>() < 1e-5);
    };
    for (a, b) in plain.0.into_iter().zip(again.0) {
        close(a.reshape([24]), b.reshape([24]));
    }
    close(plain.1.reshape([36]), again.1.reshape([36]));
    assert!(k::Leaf::of(&weight.inner()).is_none());
}
