use burn::module::{Module, Param, Reparameterization};
use burn::tensor::Tensor;
use deem_kernels as kernels;
use deem_kernels::precision::wide;

use super::dropout::Dropout;

/// The change of one linear layer's weight.
#[derive(Module, Debug)]
pub struct Adapter {
    /// A, `[rank, in]`
    pub a: Param<Tensor<2>>,
    /// B, `[out, rank]`; zero at first
    pub b: Param<Tensor<2>>,
    #[module(skip)]
    pub(super) scale: f64,
    #[module(skip)]
    pub(super) dropout: Dropout,
}

impl Adapter {
    /// The layer's output `y` for an input `x` with the adapter's share added.
    ///
    /// # Shapes
    /// - `y`: `[.., out]`, returned in the same shape
    /// - `x`: `[.., in]`
    pub(crate) fn add<const D: usize>(&self, y: Tensor<D>, x: Tensor<D>) -> Tensor<D> {
        let low = kernels::linear(self.dropout.apply(x), self.a.val(), None);
        y + kernels::linear(low, self.b.val(), None).mul_scalar(self.scale)
    }

    /// `(α / r) · B A`, `[out, in]`.
    fn change(&self) -> Tensor<2> {
        change(self.b.val(), self.a.val(), self.scale)
    }
}

/// `scale · b a`
pub(super) fn change(b: Tensor<2>, a: Tensor<2>, scale: f64) -> Tensor<2> {
    kernels::matmul(b, a).mul_scalar(scale)
}

impl Reparameterization for Adapter {
    const NAME: &'static str = "lora";

    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        let shape = base.dims();
        wide(base) + self.change().reshape(shape)
    }
}
