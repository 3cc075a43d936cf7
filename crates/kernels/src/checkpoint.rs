//! Block checkpointing (Chen et al. 2016): a block of frozen layers keeps its inputs only.

use std::sync::Arc;

use burn::tensor::Tensor;

use crate::graph::{MOST, untracked, with_gradient};
use crate::mode::{Mode, mode};
use crate::reference;

/// Runs `block` without keeping its activations, and runs it again in the backward pass.
///
/// Weights held by the closure are meant to be frozen. If the block turns out to hold weights that
/// need a gradient, it is run plainly, activations kept, so that they get it. At most six inputs.
pub fn checkpoint(
    inputs: Vec<Tensor<3>>,
    block: impl Fn(Vec<Tensor<3>>) -> Tensor<3> + Send + Sync + 'static,
) -> Tensor<3> {
    let tracked = inputs.iter().any(Tensor::is_tracked);
    if mode() == Mode::Reference || !tracked || inputs.len() > MOST {
        return reference::checkpoint(inputs, block);
    }
    let plain = inputs.iter().cloned().map(untracked).collect();
    let output = block(plain);
    if output.is_tracked() {
        drop(output);
        return reference::checkpoint(inputs, block);
    }
    let gradient = move |inputs: &[Tensor<3>], grad: Tensor<3>, wanted: &[bool]| {
        let inputs: Vec<_> = inputs
            .iter()
            .zip(wanted)
            .map(|(x, wanted)| {
                let x = x.clone().autodiff();
                if *wanted { x.require_grad() } else { x }
            })
            .collect();
        let output = block(inputs.clone());
        if !output.is_tracked() {
            return vec![None; inputs.len()]; // the block does not depend on inputs that need a gradient
        }
        // The gradient of this sum by the output is `grad`.
        let mut inner = (output * grad.autodiff()).sum().backward();
        let gradients = inputs.iter().zip(wanted);
        let gradients = gradients.map(|(x, wanted)| {
            let gradient = wanted.then(|| x.grad_remove(&mut inner));
            gradient.flatten()
        });
        gradients.collect()
    };
    with_gradient(inputs, output, Arc::new(gradient))
}
