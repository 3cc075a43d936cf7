//! Layer, root-mean-square and group normalisation.

mod group;
mod rows;

use burn::tensor::Tensor;

use crate::host::custom::{apply, fused};
use crate::reference;
use group::GroupNorm;
use rows::RowNorm;

/// Layer normalisation over the last axis (Ba et al. 2016), biased variance.
///
/// # Shapes
/// - `x`: `[.., n]`; `weight`, `bias`: `[n]`
/// - returns the shape of `x`
///
/// # Panics
/// If `weight` or `bias` do not fit the last axis.
pub fn layer_norm<const D: usize>(
    x: Tensor<D>,
    weight: Option<Tensor<1>>,
    bias: Option<Tensor<1>>,
    eps: f64,
) -> Tensor<D> {
    if !fused(&x) {
        return reference::layer_norm(x, weight, bias, eps);
    }
    let n = x.dims()[D - 1];
    let op = RowNorm {
        centred: true,
        weight: weight.is_some(),
        eps: eps as f32,
    };
    let mut inputs = vec![x.into_dispatch()];
    for parameter in [weight, bias].into_iter().flatten() {
        assert_eq!(
            parameter.dims(),
            [n],
            "layer_norm: parameter for a last axis of {n}"
        );
        inputs.push(parameter.into_dispatch());
    }
    apply(op, inputs)
}

/// Root-mean-square normalisation over the last axis (Zhang and Sennrich 2019).
///
/// # Shapes
/// - `x`: `[.., n]`; `weight`: `[n]`
/// - returns the shape of `x`
///
/// # Panics
/// If `weight` does not fit the last axis.
pub fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, eps: f64) -> Tensor<D> {
    if !fused(&x) {
        return reference::rms_norm(x, weight, eps);
    }
    let n = x.dims()[D - 1];
    assert_eq!(
        weight.dims(),
        [n],
        "rms_norm: weight for a last axis of {n}"
    );
    let op = RowNorm {
        centred: false,
        weight: true,
        eps: eps as f32,
    };
    apply(op, vec![x.into_dispatch(), weight.into_dispatch()])
}

/// Group normalisation of a channels-last map (Wu and He 2018), then SiLU if `silu`.
///
/// # Shapes
/// - `x`: `[batch, height, width, channels]`; `weight`, `bias`: `[channels]`
/// - returns the shape of `x`
///
/// # Panics
/// Unless `groups` divides the channels and the parameters fit them.
pub fn group_norm(
    x: Tensor<4>,
    groups: usize,
    weight: Tensor<1>,
    bias: Tensor<1>,
    eps: f64,
    silu: bool,
) -> Tensor<4> {
    let channels = x.dims()[3];
    assert!(
        groups > 0 && channels.is_multiple_of(groups),
        "group_norm: {groups} groups of {channels} channels"
    );
    assert_eq!(
        weight.dims(),
        [channels],
        "group_norm: weight for {channels} channels"
    );
    assert_eq!(
        bias.dims(),
        [channels],
        "group_norm: bias for {channels} channels"
    );
    if !fused(&x) {
        return reference::group_norm(x, groups, weight, bias, eps, silu);
    }
    let op = GroupNorm {
        groups,
        eps: eps as f32,
        silu,
    };
    apply(
        op,
        vec![
            x.into_dispatch(),
            weight.into_dispatch(),
            bias.into_dispatch(),
        ],
    )
}
