//! Checkpointing of whole blocks, for blocks whose weights are frozen.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use deem_kernels as kernels;

/// Whether no parameter of the module wants a gradient, so that the block may be recomputed in the
/// backward pass.
pub(crate) fn is_frozen<M: Module>(module: &M) -> bool {
    struct Frozen(bool);
    impl ModuleVisitor for Frozen {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 &= !param.val().is_require_grad();
        }
    }
    let mut visitor = Frozen(true);
    module.visit(&mut visitor);
    visitor.0
}

/// [`kernels::checkpoint`] with a fixed number of inputs.
pub(crate) fn block_checkpoint<const N: usize>(
    inputs: [Tensor<3>; N],
    block: impl Fn([Tensor<3>; N]) -> Tensor<3> + Send + Sync + 'static,
) -> Tensor<3> {
    kernels::checkpoint(inputs.into(), move |inputs| {
        block(inputs.try_into().expect("as many inputs as were given"))
    })
}
