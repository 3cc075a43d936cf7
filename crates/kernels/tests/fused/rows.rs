//! Linear maps, norms and activations.

use burn::tensor::{Device, Tensor};
use deem_kernels as k;

use crate::check::{check, check_values, tensor};

#[test]
fn linear() {
    for (rows, inputs, outputs) in [
        (1, 1, 1),
        (6, 5, 7),
        (130, 64, 48),
        (33, 100, 33),
        (700, 40, 80),
        (300, 70, 130),
    ] {
        check(&[rows * inputs, outputs * inputs, outputs], |x| {
            let [a, w, b] = [x[0].clone(), x[1].clone(), x[2].clone()];
            k::linear(
                a.reshape([1, rows, inputs]),
                w.reshape([outputs, inputs]),
                Some(b),
            )
        });
    }
    check(&[4 * 6 * 5, 7 * 5], |x| {
        let view = x[0]
            .clone()
            .reshape([5, 6, 4])
            .permute([2, 1, 0])
            .narrow(1, 1, 4);
        k::linear(view, x[1].clone().reshape([5, 7]).transpose(), None)
    });
}

#[test]
fn layer_norm() {
    for n in [1, 5, 16, 33, 100] {
        check(&[7 * n, n, n], |x| {
            k::layer_norm(
                x[0].clone().reshape([7, n]),
                Some(x[1].clone()),
                Some(x[2].clone()),
                1e-2,
            )
        });
        check(&[7 * n, n], |x| {
            k::layer_norm(x[0].clone().reshape([7, n]), None, Some(x[1].clone()), 1e-2)
        });
        check(&[7 * n], |x| {
            k::layer_norm(x[0].clone().reshape([7, n]), None, None, 1e-2)
        });
    }
    // Threads, a transposed view, and a large offset that would drown a one-pass variance
    check(&[80 * 900, 80, 80], |x| {
        let view = x[0].clone().reshape([80, 900]).transpose() + 100.0;
        k::layer_norm(view, Some(x[1].clone()), Some(x[2].clone()), 1e-5)
    });
    // Such an offset in rows that are no whole number of vectors
    for n in [5, 33] {
        check(&[7 * n], |x| {
            let rows = x[0].clone().reshape([7, n]) + 100.0;
            k::layer_norm(rows, None, None, 1e-2)
        });
    }
}

#[test]
fn rms_norm() {
    for n in [1, 5, 16, 33, 800] {
        check(&[90 * n, n], |x| {
            k::rms_norm(x[0].clone().reshape([2, 45, n]), x[1].clone(), 1e-6)
        });
    }
}

#[test]
fn group_norm() {
    for (groups, channels) in [(1, 3), (4, 20), (8, 32), (5, 5)] {
        for silu in [false, true] {
            check(&[3 * 4 * 5 * channels, channels, channels], |x| {
                let map = x[0]
                    .clone()
                    .reshape([3, channels, 4, 5])
                    .permute([0, 2, 3, 1]);
                k::group_norm(map, groups, x[1].clone(), x[2].clone(), 1e-5, silu)
            });
        }
    }
}

#[test]
fn group_norm_of_a_large_map() {
    // Added one after the other in single precision, these numbers would have lost three digits.
    let (side, offset) = (700, 10.0);
    let map = tensor([1, side, side, 1], 1) + offset;
    let x: Vec<f64> = map.clone().into_data().iter::<f64>().collect();
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
    let ones = || Tensor::ones([1], &Device::flex());
    // The reference is the framework's mean, which does lose some.
    let y = k::with_mode(k::Mode::Fast, || {
        k::group_norm(map, 1, ones(), ones() - 1.0, 0.0, false)
    });
    for (y, x) in y.into_data().iter::<f64>().zip(x) {
        let expected = (x - mean) / variance.sqrt();
        assert!((y - expected).abs() < 2e-5, "{y} for {expected}");
    }
}

#[test]
fn activations() {
    let wide: [Vec<f32>; 1] = [(-400..=400).map(|i| i as f32 * 0.05).collect()];
    check_values(&wide, |x| k::gelu(x[0].clone()));
    check_values(&wide, |x| k::gelu_tanh(x[0].clone()));
    check_values(&wide, |x| k::quick_gelu(x[0].clone()));
    check_values(&wide, |x| k::silu(x[0].clone()));
    check(&[33 * 3, 33 * 3], |x| {
        let gate = x[0].clone().reshape([3, 33]) * 10.0;
        k::swiglu(gate, x[1].clone().reshape([33, 3]).transpose())
    });
    check(&[6 * 26], |x| {
        k::geglu(x[0].clone().reshape([2, 3, 26]) * 5.0)
    });
}

#[test]
fn activations_at_extremes() {
    let device = Device::flex();
    let x = Tensor::<1>::from_floats([-1e30, -1e3, -90.0, 0.0, 90.0, 1e3, 1e30], &device);
    for op in [
        k::gelu::<1>,
        k::gelu_tanh::<1>,
        k::quick_gelu::<1>,
        k::silu::<1>,
    ] {
        let y: Vec<f32> = op(x.clone()).into_data().iter::<f32>().collect();
        for (y, expected) in y.iter().zip([0.0, 0.0, 0.0, 0.0, 90.0, 1e3, 1e30]) {
            // The smallest value of the exponential times 1e30 is what remains of the far tail.
            assert!(
                (y - expected).abs() <= expected * 1e-6 + 1e-7,
                "{y} for {expected}"
            );
        }
        let nan = op(Tensor::from_floats([f32::NAN], &device)).into_scalar::<f32>();
        assert!(nan.is_nan());
    }
}

#[test]
fn softmax() {
    for n in [1, 7, 16, 50, 300] {
        check(&[11 * n], |x| {
            k::softmax(x[0].clone().reshape([11, n]) * 30.0)
        });
    }
    let y = k::softmax(tensor([2, 9], 1) * 1e4 + 1e6);
    let sums: Vec<f32> = y.sum_dim(1).into_data().iter::<f32>().collect();
    assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-6), "{sums:?}");
}

#[test]
fn select() {
    let rows = [3, 0, 3, 3, 2];
    for width in [1, 7, 40, 9000] {
        check(&[4 * width], |x| {
            deem_kernels::select(x[0].clone().reshape([4, width]), &rows)
        });
    }
    // A view
    check(&[6 * 5], |x| {
        deem_kernels::select(x[0].clone().reshape([5, 6]).transpose(), &[5, 1, 1])
    });
}

#[test]
#[should_panic(expected = "select: row 4 of [4, 2]")]
fn select_rejects_rows_beyond_the_end() {
    deem_kernels::select(crate::check::tensor([4, 2], 1), &[0, 4]);
}

#[test]
fn sum_of_squares() {
    for mode in [deem_kernels::Mode::Fast, deem_kernels::Mode::Reference] {
        for count in [0, 1, 100, 1000] {
            let x = crate::check::tensor([count], 2);
            let values = x.to_data();
            let expected: f64 = values.iter::<f64>().map(|x| x * x).sum();
            let found = deem_kernels::with_mode(mode, || deem_kernels::sum_of_squares([&x]));
            assert!((found - expected).abs() <= 1e-12 * expected);
        }
    }
}

#[test]
fn sums_and_means() {
    for shape in [[1, 1, 1], [2, 3, 5], [3, 1, 5000], [40, 7, 130]] {
        let n = shape.iter().product();
        check(&[n], |x| k::sum(x[0].clone().reshape(shape) + 0.5));
        check(&[n], |x| k::mean(x[0].clone().reshape(shape) + 0.5));
        check(&[n], |x| k::sum_last(x[0].clone().reshape(shape) + 0.5));
        check(&[n], |x| k::mean_last(x[0].clone().reshape(shape) + 0.5));
    }
    let x = Tensor::<2>::from_floats([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], &Device::flex());
    assert_eq!(k::sum(x.clone()).into_scalar::<f32>(), 21.0);
    let means: Vec<f32> = k::mean_last(x).into_data().iter::<f32>().collect();
    assert_eq!(means, [2.0, 5.0]);
}

#[test]
fn matmul() {
    for [batch, m, inner, n] in [
        [1, 1, 1, 1],
        [2, 5, 7, 3],
        [7, 40, 65, 33],
        [1, 130, 90, 70],
    ] {
        check(&[batch * m * inner, batch * inner * n], |x| {
            let a = x[0].clone().reshape([batch, m, inner]);
            // A view
            let b = x[1].clone().reshape([batch, n, inner]).swap_dims(1, 2);
            k::matmul(a, b)
        });
    }
}

#[test]
#[should_panic(expected = "matmul: [2, 3] by [2, 3]")]
fn matmul_wants_fitting_shapes() {
    k::matmul(tensor([2, 3], 1), tensor([2, 3], 2));
}

#[test]
fn elementary_functions() {
    let wide: [Vec<f32>; 1] = [(-400..=400).map(|i| i as f32 * 0.05).collect()];
    check_values(&wide, |x| k::exp(x[0].clone()));
    check_values(&wide, |x| k::tanh(x[0].clone()));
    check_values(&wide, |x| k::gaussian(x[0].clone()));
    check_values(&wide, |x| k::sigmoid(x[0].clone()));
    check_values(&wide, |x| k::softplus(x[0].clone()));
    let positive: [Vec<f32>; 1] = [(1..=400).map(|i| i as f32 * i as f32 * 0.01).collect()];
    check_values(&positive, |x| k::log(x[0].clone()));
    check_values(&positive, |x| k::sqrt(x[0].clone()));
    let small: Vec<f32> = (-300..=300).map(|i| i as f32 * 1e-3).collect();
    let x = Tensor::<1>::from_floats(small.as_slice(), &Device::flex());
    for (y, x) in k::tanh(x).into_data().iter::<f64>().zip(small) {
        let expected = f64::from(x).tanh();
        assert!(
            (y - expected).abs() <= 1e-6 * expected.abs(),
            "{x} {y} {expected}"
        );
    }
}
