use burn::tensor::Tensor;

use crate::precision::{cast, wide};

/// Sum of all entries; see [`crate::sum`].
pub fn sum<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    let dtype = x.dtype();
    cast(wide(x).sum(), dtype)
}

/// Mean of all entries; see [`crate::mean`].
pub fn mean<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    let dtype = x.dtype();
    cast(wide(x).mean(), dtype)
}

/// Mean over the last axis; see [`crate::mean_last`].
pub fn mean_last<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let dtype = x.dtype();
    cast(wide(x).mean_dim(D - 1), dtype)
}

/// Sum over the last axis; see [`crate::sum_last`].
pub fn sum_last<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let dtype = x.dtype();
    cast(wide(x).sum_dim(D - 1), dtype)
}
