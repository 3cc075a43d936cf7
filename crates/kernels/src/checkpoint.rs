//! Block checkpoint: a block's inner activations are recomputed in the backward pass.

use std::fmt;
use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{
    Autodiff, AutodiffBackend, BackendTensor, DispatchAutodiffContext, DispatchTensor,
    DispatchTensorKind, Flex,
};
use burn::tensor::{Device, Tensor};
use burn_flex::FlexTensor;

use crate::mode::{Mode, mode};
use crate::reference;

/// Runs `block` without keeping its activations, and runs it again in the backward pass.
///
/// Weights held by the closure are meant to be frozen. If the block turns out to hold weights that
/// need a gradient, it is run plainly, activations kept, so that they get it. At most six inputs;
/// on other devices than the CPU the block is run plainly.
pub fn checkpoint(
    inputs: Vec<Tensor<3>>,
    block: impl Fn(Vec<Tensor<3>>) -> Tensor<3> + Send + Sync + 'static,
) -> Tensor<3> {
    let on_cpu = inputs.iter().all(|x| x.device() == Device::flex());
    let tracked = inputs.iter().any(Tensor::is_tracked);
    if mode() == Mode::Reference || !on_cpu || !tracked || inputs.len() > 6 {
        return reference::checkpoint(inputs, block);
    }
    let plain = inputs.iter().map(|x| untracked(x.clone())).collect();
    let output = block(plain);
    if output.is_tracked() {
        drop(output);
        return reference::checkpoint(inputs, block);
    }
    let block = Block(Arc::new(block));
    match inputs.len() {
        1 => record::<1>(block, inputs, output),
        2 => record::<2>(block, inputs, output),
        3 => record::<3>(block, inputs, output),
        4 => record::<4>(block, inputs, output),
        5 => record::<5>(block, inputs, output),
        _ => record::<6>(block, inputs, output),
    }
}

#[derive(Clone)]
struct Block(Arc<dyn Fn(Vec<Tensor<3>>) -> Tensor<3> + Send + Sync>);

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Block")
    }
}

/// What the backward pass needs to run the block again.
#[derive(Clone, Debug)]
struct State {
    inputs: Vec<FlexTensor>,
    context: DispatchAutodiffContext,
}

type TrackedTensor = burn::backend::tensor::FloatTensor<Autodiff<Flex>>;

/// The same values off the gradient graph.
fn untracked(x: Tensor<3>) -> Tensor<3> {
    if x.is_autodiff() { x.inner() } else { x }
}

fn plain(x: Tensor<3>) -> FlexTensor {
    match untracked(x).into_dispatch().kind {
        DispatchTensorKind::Flex(BackendTensor::Float(tensor)) => tensor,
        _ => panic!("a block on the CPU gave a tensor elsewhere"),
    }
}

/// A tensor of the gradient graph, and the primitive that stands for it.
fn tracked(x: Tensor<3>) -> (TrackedTensor, DispatchAutodiffContext) {
    let x = if x.is_autodiff() { x } else { x.autodiff() };
    let x = x.into_dispatch();
    match x.kind {
        DispatchTensorKind::Autodiff(inner) => match *inner {
            DispatchTensorKind::Flex(BackendTensor::Autodiff(tensor)) => (tensor, x.autodiff),
            _ => panic!("a block on the CPU gave a tensor elsewhere"),
        },
        _ => panic!("an autodiff tensor was expected"),
    }
}

fn from_tracked(tensor: TrackedTensor, context: DispatchAutodiffContext) -> Tensor<3> {
    let inner = DispatchTensorKind::Flex(BackendTensor::Autodiff(tensor));
    let kind = DispatchTensorKind::Autodiff(Box::new(inner));
    Tensor::from_dispatch(DispatchTensor {
        kind,
        autodiff: context,
    })
}

fn record<const N: usize>(block: Block, inputs: Vec<Tensor<3>>, output: Tensor<3>) -> Tensor<3> {
    let mut context = DispatchAutodiffContext::Disabled;
    let mut primitives = Vec::with_capacity(N);
    let mut guards = Vec::with_capacity(N);
    let is_tracked: Vec<bool> = inputs.iter().map(Tensor::is_tracked).collect();
    for (input, is_tracked) in inputs.into_iter().zip(is_tracked) {
        let (tensor, input_context) = tracked(input);
        if is_tracked {
            context = context.merge(input_context);
        }
        let (primitive, guard) = tensor.into_parts();
        primitives.push(primitive);
        guards.push(guard);
    }
    let Ok(guards) = guards.try_into() else {
        unreachable!("one guard per input")
    };
    let output = plain(output);
    let prepared = Backward::<Flex, N>::prepare::<NoCheckpointing>(block, guards);
    let output = match prepared.compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(
            State {
                inputs: primitives,
                context,
            },
            output,
        ),
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    };
    from_tracked(output, context)
}

impl<const N: usize> Backward<Flex, N> for Block {
    type State = State;

    fn backward(self, ops: Ops<State, N>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let State { inputs, context } = ops.state;
        let lift = |x: FlexTensor| {
            from_tracked(<Autodiff<Flex> as AutodiffBackend>::from_inner(x), context)
        };
        let grad = lift(grads.consume::<Flex>(&ops.node));
        let inputs: Vec<_> = inputs
            .into_iter()
            .zip(&ops.parents)
            .map(|(x, parent)| {
                let x = lift(x);
                if parent.is_some() {
                    x.require_grad()
                } else {
                    x
                }
            })
            .collect();
        let output = (self.0)(inputs.clone());
        if !output.is_tracked() {
            return; // the block does not depend on inputs that need a gradient
        }
        // The gradient of this sum by the output is `grad`.
        let mut inner = (output * grad).sum().backward();
        for (input, parent) in inputs.iter().zip(ops.parents) {
            if let (Some(parent), Some(gradient)) = (parent, input.grad_remove(&mut inner)) {
                grads.register::<Flex>(parent.id, plain(gradient));
            }
        }
    }
}
