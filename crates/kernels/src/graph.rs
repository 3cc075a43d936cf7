//! Operations with a backward pass of their own, on tensors of any device.
//!
//! The fused operations of the CPU work on slices of floats ([`crate::host`]). These are compositions of
//! tensor operations whose gradient is another composition: one that keeps less, because it computes again
//! what it needs.

use std::fmt;
use std::sync::Arc;

#[cfg(any(feature = "cuda", feature = "wgpu"))]
use burn::backend::Cube;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, Backend, BackendTensor, DispatchAutodiffContext, DispatchTensor, DispatchTensorKind,
    Flex,
};
use burn::tensor::Tensor;

/// The gradients of inputs (off the graph) by the output's; the last argument says which are wanted.
pub(crate) type Gradient<const D: usize> =
    dyn Fn(&[Tensor<D>], Tensor<D>, &[bool]) -> Vec<Option<Tensor<D>>> + Send + Sync;

/// The same, and the gradients of leaves that are no inputs.
type GradientWithLeaves<const D: usize> = dyn Fn(&[Tensor<D>], Tensor<D>, &[bool]) -> (Vec<Option<Tensor<D>>>, Vec<LeafGradient>)
    + Send
    + Sync;

/// Place of a trained weight in the gradient graph. It keeps nothing alive.
#[derive(Clone, Copy, Debug)]
pub struct Leaf(NodeId);

impl Leaf {
    /// The place of a tensor that requires a gradient; `None` of any other.
    pub fn of<const D: usize>(x: &Tensor<D>) -> Option<Self> {
        if !x.is_require_grad() {
            return None;
        }
        let DispatchTensorKind::Autodiff(kind) = x.clone().into_dispatch().kind else {
            return None;
        };
        match *kind {
            DispatchTensorKind::Flex(BackendTensor::Autodiff(tensor)) => Some(Self(tensor.id())),
            #[cfg(any(feature = "cuda", feature = "wgpu"))]
            DispatchTensorKind::Cube(BackendTensor::Autodiff(tensor)) => Some(Self(tensor.id())),
            _ => None,
        }
    }
}

/// The gradient of a trained weight.
pub struct LeafGradient {
    leaf: Leaf,
    gradient: DispatchTensor,
}

impl LeafGradient {
    /// A gradient of the weight at `leaf`, in its shape.
    pub fn new<const D: usize>(leaf: Leaf, gradient: Tensor<D>) -> Self {
        Self {
            leaf,
            gradient: untracked(gradient).into_dispatch(),
        }
    }
}

/// How many inputs an operation may have.
pub(crate) const MOST: usize = 6;

/// Puts `output` on the gradient graph, as computed from `inputs`, of which at least one is tracked.
///
/// Nothing is kept but the inputs.
///
/// # Panics
/// Without tracked input, or with more than [`MOST`] inputs.
pub(crate) fn with_gradient<const D: usize>(
    inputs: Vec<Tensor<D>>,
    output: Tensor<D>,
    gradient: Arc<Gradient<D>>,
) -> Tensor<D> {
    let gradient = move |inputs: &[Tensor<D>], grad: Tensor<D>, wanted: &[bool]| {
        (gradient(inputs, grad, wanted), Vec::new())
    };
    with_leaves(inputs, output, Arc::new(gradient))
}

/// As [`with_gradient`], where the gradient of trained weights is found, too. They are leaves: nothing has to
/// happen in the graph before or after they get it.
pub(crate) fn with_leaves<const D: usize>(
    inputs: Vec<Tensor<D>>,
    output: Tensor<D>,
    gradient: Arc<GradientWithLeaves<D>>,
) -> Tensor<D> {
    let tracked = inputs.iter().find(|x| x.is_tracked());
    let tracked = tracked.expect("a tracked input").clone().into_dispatch();
    let DispatchTensorKind::Autodiff(kind) = tracked.kind else {
        unreachable!("tracked tensors are on the graph")
    };
    let context = tracked.autodiff;
    let step = Step(gradient);
    match *kind {
        DispatchTensorKind::Flex(_) => step.record::<Flex>(inputs, output, context),
        #[cfg(any(feature = "cuda", feature = "wgpu"))]
        DispatchTensorKind::Cube(_) => step.record::<Cube>(inputs, output, context),
        #[allow(unreachable_patterns)]
        _ => panic!("a tensor of a back end that no feature of deem enables"),
    }
}

/// The same values off the gradient graph.
pub(crate) fn untracked<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if x.is_autodiff() { x.inner() } else { x }
}

/// A back end whose tensors Burn's dispatch knows.
trait Dispatched: Backend {
    fn wrap(tensor: BackendTensor<Self>) -> DispatchTensorKind;
    /// Nothing for a tensor of another back end.
    fn unwrap(kind: DispatchTensorKind) -> Option<BackendTensor<Self>>;
}

macro_rules! dispatched {
    ($backend:ident) => {
        impl Dispatched for $backend {
            fn wrap(tensor: BackendTensor<Self>) -> DispatchTensorKind {
                DispatchTensorKind::$backend(tensor)
            }

            fn unwrap(kind: DispatchTensorKind) -> Option<BackendTensor<Self>> {
                match kind {
                    DispatchTensorKind::$backend(tensor) => Some(tensor),
                    _ => None,
                }
            }
        }
    };
}

dispatched!(Flex);
#[cfg(any(feature = "cuda", feature = "wgpu"))]
dispatched!(Cube);

/// The primitive of a tensor off the graph.
fn primitive<B: Dispatched, const D: usize>(x: Tensor<D>) -> FloatTensor<B> {
    match B::unwrap(x.into_dispatch().kind) {
        Some(BackendTensor::Float(tensor)) => tensor,
        _ => panic!("operands of one operation on several devices"),
    }
}

/// A tensor off the graph.
fn tensor<B: Dispatched, const D: usize>(primitive: FloatTensor<B>) -> Tensor<D> {
    Tensor::from_dispatch(DispatchTensor {
        kind: B::wrap(BackendTensor::Float(primitive)),
        autodiff: DispatchAutodiffContext::Disabled,
    })
}

/// The primitive of a tensor off the graph that lies on a GPU.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
pub(crate) fn on_gpu<const D: usize>(x: Tensor<D>) -> Option<FloatTensor<Cube>> {
    match Cube::unwrap(x.into_dispatch().kind) {
        Some(BackendTensor::Float(tensor)) => Some(tensor),
        _ => None,
    }
}

/// The tensor of a primitive that lies on a GPU.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
pub(crate) fn from_gpu<const D: usize>(primitive: FloatTensor<Cube>) -> Tensor<D> {
    tensor::<Cube, D>(primitive)
}

#[derive(Clone)]
struct Step<const D: usize>(Arc<GradientWithLeaves<D>>);

impl<const D: usize> fmt::Debug for Step<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Step")
    }
}

impl<const D: usize> Step<D> {
    fn record<B: Dispatched>(
        self,
        inputs: Vec<Tensor<D>>,
        output: Tensor<D>,
        context: DispatchAutodiffContext,
    ) -> Tensor<D> {
        let plain: Vec<_> = inputs.iter().cloned().map(untracked).collect();
        let guards: Vec<_> = inputs.into_iter().map(guard::<B, D>).collect();
        let output = primitive::<B, D>(untracked(output));
        let output = match guards.len() {
            1 => self.track::<B, 1>(guards, plain, output),
            2 => self.track::<B, 2>(guards, plain, output),
            3 => self.track::<B, 3>(guards, plain, output),
            4 => self.track::<B, 4>(guards, plain, output),
            5 => self.track::<B, 5>(guards, plain, output),
            6 => self.track::<B, 6>(guards, plain, output),
            n => panic!("operations have 1 to {MOST} inputs, not {n}"),
        };
        let kind = B::wrap(BackendTensor::Autodiff(output));
        Tensor::from_dispatch(DispatchTensor {
            kind: DispatchTensorKind::Autodiff(Box::new(kind)),
            autodiff: context,
        })
    }

    fn track<B: Dispatched, const N: usize>(
        self,
        guards: Vec<NodeGuard>,
        inputs: Vec<Tensor<D>>,
        output: FloatTensor<B>,
    ) -> FloatTensor<Autodiff<B>> {
        let Ok(guards) = <[NodeGuard; N]>::try_from(guards) else {
            unreachable!("matched on the number of inputs")
        };
        let prepared = Backward::<B, N>::prepare::<NoCheckpointing>(self, guards);
        match prepared.compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish(inputs, output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }
}

/// An input's place in the graph.
fn guard<B: Dispatched, const D: usize>(x: Tensor<D>) -> NodeGuard {
    let x = if x.is_autodiff() { x } else { x.autodiff() };
    let DispatchTensorKind::Autodiff(kind) = x.into_dispatch().kind else {
        unreachable!("put on the graph above")
    };
    match B::unwrap(*kind) {
        Some(BackendTensor::Autodiff(tensor)) => tensor.into_parts().1,
        _ => panic!("operands of one operation on several devices"),
    }
}

impl<B: Dispatched, const D: usize, const N: usize> Backward<B, N> for Step<D> {
    type State = Vec<Tensor<D>>;

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let wanted: Vec<bool> = ops.parents.iter().map(Option::is_some).collect();
        let grad = tensor::<B, D>(grads.consume::<B>(&ops.node));
        let (results, leaves) = (self.0)(&ops.state, grad, &wanted);
        for (parent, result) in ops.parents.into_iter().zip(results) {
            if let (Some(parent), Some(result)) = (parent, result) {
                grads.register::<B>(parent.id, primitive::<B, D>(untracked(result)));
            }
        }
        for LeafGradient { leaf, gradient } in leaves {
            match B::unwrap(gradient.kind) {
                Some(BackendTensor::Float(gradient)) => grads.register::<B>(leaf.0, gradient),
                _ => panic!("a weight on another device than the block's inputs"),
            }
        }
    }
}
