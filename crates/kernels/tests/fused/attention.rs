//! Attention.

use burn::tensor::{Bool, Device, Tensor};
use deem_kernels::{AttentionMask, attention};

use crate::check::{check, tensor};

fn compare(
    [batch, heads, kv_heads]: [usize; 3],
    [queries, keys, dim, value_dim]: [usize; 4],
    mask: AttentionMask,
) {
    let sizes = [
        batch * heads * queries * dim,
        batch * kv_heads * keys * dim,
        batch * kv_heads * keys * value_dim,
    ];
    check(&sizes, |x| {
        // Heads split from a joined last axis, as projections give them
        let split = |x: &Tensor<1>, heads: usize, rows: usize, dim: usize| {
            x.clone().reshape([batch, rows, heads, dim]).swap_dims(1, 2)
        };
        let q = split(&x[0], heads, queries, dim) * 3.0;
        let k = split(&x[1], kv_heads, keys, dim);
        let v = split(&x[2], kv_heads, keys, value_dim);
        attention(q, k, v, mask.clone(), (dim as f64).powf(-0.5)).swap_dims(1, 2)
    });
}

fn padding(rows: &[&[bool]]) -> Option<Tensor<2, Bool>> {
    let data: Vec<bool> = rows.concat();
    let data = burn::tensor::TensorData::new(data, [rows.len(), rows[0].len()]);
    Some(Tensor::from_data(data, &Device::flex()))
}

#[test]
fn plain() {
    compare([1, 1, 1], [1, 1, 1, 1], AttentionMask::default());
    compare([2, 3, 3], [5, 7, 4, 6], AttentionMask::default());
    compare([1, 2, 2], [64, 64, 32, 32], AttentionMask::default());
    compare([1, 1, 1], [400, 300, 16, 16], AttentionMask::default());
}

#[test]
fn contiguous_heads() {
    check(&[2 * 3 * 5 * 4, 2 * 3 * 6 * 4, 2 * 3 * 6 * 4], |x| {
        let q = x[0].clone().reshape([2, 3, 5, 4]);
        let [k, v] = [&x[1], &x[2]].map(|x| x.clone().reshape([2, 3, 6, 4]));
        attention(q, k, v, AttentionMask::default(), 0.5)
    });
}

#[test]
fn transposed_rows() {
    check(&[2 * 5 * 4, 2 * 6 * 4, 2 * 6 * 4], |x| {
        let q = x[0].clone().reshape([1, 2, 4, 5]).swap_dims(2, 3);
        let [k, v] = [&x[1], &x[2]].map(|x| x.clone().reshape([1, 2, 4, 6]).swap_dims(2, 3));
        attention(q, k, v, AttentionMask::default(), 0.5)
    });
}

#[test]
fn grouped_heads() {
    compare([2, 6, 2], [9, 11, 8, 8], AttentionMask::default());
    compare(
        [2, 4, 1],
        [9, 9, 8, 8],
        AttentionMask {
            causal: true,
            ..Default::default()
        },
    );
}

#[test]
fn causal() {
    let mask = AttentionMask {
        causal: true,
        ..Default::default()
    };
    compare([1, 2, 2], [6, 6, 4, 4], mask.clone());
    compare([1, 2, 2], [1, 9, 4, 4], mask.clone());
    compare([1, 2, 2], [20, 33, 4, 4], mask.clone());
    compare([1, 1, 1], [7, 4, 4, 4], mask); // the first three queries see nothing
}

#[test]
fn padded_and_biased() {
    let key_padding = padding(&[
        &[true, true, false, true, false],
        &[false; 5],
        &[true, false, true, true, true],
    ]);
    let mask = AttentionMask {
        key_padding,
        ..Default::default()
    };
    compare([3, 2, 2], [4, 5, 3, 3], mask.clone());
    compare(
        [3, 2, 1],
        [5, 5, 3, 3],
        AttentionMask {
            causal: true,
            ..mask.clone()
        },
    );
    let bias = Some(tensor([1, 2, 4, 5], 5) * 4.0);
    compare([3, 2, 2], [4, 5, 3, 3], AttentionMask { bias, ..mask });
    let bias = Some(tensor([3, 1, 1, 5], 5) * 4.0);
    compare(
        [3, 2, 2],
        [4, 5, 3, 3],
        AttentionMask {
            bias,
            ..Default::default()
        },
    );
}

#[test]
fn a_learned_bias_gets_its_gradient() {
    check(&[2 * 3 * 4, 2 * 5 * 4, 2 * 5 * 4, 2 * 3 * 5], |x| {
        let q = x[0].clone().reshape([1, 2, 3, 4]);
        let [k, v] = [&x[1], &x[2]].map(|x| x.clone().reshape([1, 2, 5, 4]));
        let bias = Some(x[3].clone().reshape([1, 2, 3, 5]));
        attention(
            q,
            k,
            v,
            AttentionMask {
                bias,
                ..Default::default()
            },
            0.5,
        )
    });
}

#[test]
fn rows_that_see_nothing_are_zero() {
    let key_padding = padding(&[&[false, false]]);
    let x = || tensor([1, 1, 2, 3], 1);
    let mask = AttentionMask {
        key_padding,
        ..Default::default()
    };
    let y: Vec<f32> = attention(x(), x(), x(), mask, 1.0)
        .into_data()
        .iter::<f32>()
        .collect();
    assert_eq!(y, [0.0; 6]);
}

#[test]
fn large_scores_stay_finite() {
    check(&[24, 24, 24], |x| {
        let [q, k, v] = [0, 1, 2].map(|i| x[i].clone().reshape([1, 1, 6, 4]));
        attention(q * 100.0, k * 100.0, v, AttentionMask::default(), 1.0)
    });
}
