//! Whole MLPs.

use burn::tensor::Tensor;
use deem_kernels::{MlpActivation, mlp, swiglu_mlp};

use crate::check::check;

fn matrix(x: &Tensor<1>, rows: usize, columns: usize) -> Tensor<2> {
    x.clone().reshape([rows, columns])
}

#[test]
fn one_matrix_up() {
    use MlpActivation::{Geglu, Gelu, GeluTanh, QuickGelu, Silu};
    for (rows, inputs, inner, outputs) in [(13, 5, 7, 3), (40, 33, 48, 20), (401, 8, 20, 35)] {
        for activation in [Gelu, GeluTanh, QuickGelu, Silu, Geglu] {
            let hidden = if activation == Geglu {
                2 * inner
            } else {
                inner
            };
            let sizes = [
                rows * inputs,
                hidden * inputs,
                outputs * inner,
                hidden,
                outputs,
            ];
            check(&sizes, |x| {
                let up = (matrix(&x[1], hidden, inputs), Some(x[3].clone()));
                let down = (matrix(&x[2], outputs, inner), Some(x[4].clone()));
                mlp(matrix(&x[0], rows, inputs), up, activation, down)
            });
        }
    }
}

#[test]
fn gate_by_a_matrix() {
    for (rows, inputs, inner, outputs) in [(13, 5, 7, 3), (25, 34, 40, 33), (390, 6, 17, 9)] {
        let sizes = [
            rows * inputs,
            inner * inputs,
            inner * inputs,
            outputs * inner,
        ];
        check(&sizes, |x| {
            let [gate, up] = [1, 2].map(|i| matrix(&x[i], inner, inputs));
            swiglu_mlp(
                matrix(&x[0], rows, inputs),
                gate,
                up,
                matrix(&x[3], outputs, inner),
            )
        });
    }
}

#[test]
fn few_rows_and_no_bias() {
    for rows in [1, 3, 14] {
        check(&[rows * 5, 8 * 5, 6 * 8], |x| {
            let up = (matrix(&x[1], 8, 5), None);
            let down = (matrix(&x[2], 6, 8), None);
            mlp(matrix(&x[0], rows, 5), up, MlpActivation::Gelu, down)
        });
    }
}

#[test]
#[should_panic(expected = "mlp: [20, 5] into 6, then 8 into 8")]
fn widths_have_to_fit() {
    let tensor = |rows, columns| crate::check::tensor([rows, columns], 1);
    let bias = |n| Some(crate::check::tensor([n], 1));
    mlp(
        tensor(20, 5),
        (tensor(8, 6), bias(8)),
        MlpActivation::Gelu,
        (tensor(4, 8), bias(4)),
    );
}
