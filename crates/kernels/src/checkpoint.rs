//! Block checkpointing (Chen et al. 2016): a block keeps its inputs only.

use std::sync::Arc;

use burn::tensor::{Gradients, Tensor};

use crate::graph::{LeafGradient, with_leaves};
use crate::mode::{Mode, mode};

/// Whether blocks are computed again at all: the reference keeps everything.
pub fn checkpoints() -> bool {
    mode() != Mode::Reference
}

/// Puts `output`, which a block made of `inputs` off the gradient graph, on it.
///
/// The backward pass calls `again`: the block on the graph, its trained weights being fresh leaves, and what
/// then reads the gradients of these. At most six inputs, of which at least one needs a gradient.
///
/// # Panics
/// With other inputs than these.
pub fn recomputed<G>(
    inputs: Vec<Tensor<3>>,
    output: Tensor<3>,
    again: impl Fn(Vec<Tensor<3>>) -> (Tensor<3>, G) + Send + Sync + 'static,
) -> Tensor<3>
where
    G: FnOnce(&mut Gradients) -> Vec<LeafGradient>,
{
    let gradient = move |inputs: &[Tensor<3>], grad: Tensor<3>, wanted: &[bool]| {
        let inputs: Vec<_> = inputs
            .iter()
            .zip(wanted)
            .map(|(x, wanted)| {
                let x = x.clone().autodiff();
                if *wanted { x.require_grad() } else { x }
            })
            .collect();
        let (output, leaves) = again(inputs.clone());
        if !output.is_tracked() {
            // The block depends on nothing that needs a gradient.
            return (vec![None; inputs.len()], Vec::new());
        }
        // The gradient of this sum by the output is `grad`.
        let mut inner = (output * grad.autodiff()).sum().backward();
        let gradients = inputs.iter().zip(wanted);
        let gradients = gradients.map(|(x, wanted)| {
            let gradient = wanted.then(|| x.grad_remove(&mut inner));
            gradient.flatten()
        });
        (gradients.collect(), leaves(&mut inner))
    };
    with_leaves(inputs, output, Arc::new(gradient))
}
