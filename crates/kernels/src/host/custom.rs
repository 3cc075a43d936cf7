//! Custom differentiable operations on the CPU back end.
//!
//! A [`HostOp`] computes on float slices; [`apply`] connects it to Burn's tensors and gradient
//! graph. Inputs that need no gradient cost none: the operation is told which do, both when it
//! decides what to keep and when it computes gradients.

use std::fmt::Debug;
use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, AutodiffBackend, BackendTensor, DispatchAutodiffContext, DispatchTensor,
    DispatchTensorKind, Flex,
};
use burn::tensor::{Bytes, DType, Device, Int, Shape, Tensor};
use burn_flex::{FlexTensor, Layout};

use super::element::Elements;
use crate::mode::{Mode, mode};
use crate::profile::{Entry, timed};

/// Whether a tensor can go to a fused CPU kernel: fast mode, CPU back end, f32.
pub(crate) fn fused<const D: usize>(x: &Tensor<D>) -> bool {
    mode() == Mode::Fast && x.dtype() == DType::F32 && x.device() == Device::flex()
}

/// Whether a tensor is [`fused`] and off the gradient graph's device, so that its memory can be used as it is.
pub(crate) fn eager<const D: usize>(x: &Tensor<D>) -> bool {
    fused(x) && !x.is_autodiff()
}

/// Whether a fused kernel can read a weight: f32, or in 16 bits and frozen (its gradient would be in 32).
pub(crate) fn readable(weight: &Tensor<2>) -> bool {
    match weight.dtype() {
        DType::F32 => true,
        DType::F16 | DType::BF16 => !weight.is_require_grad(),
        _ => false,
    }
}

/// An input or gradient as a kernel sees it: f32 on the host, last axis contiguous; frozen weights may be
/// in 16 bits.
#[derive(Clone, Debug)]
pub(crate) struct Host(FlexTensor);

impl Host {
    /// All elements in order; where rows have strides, the storage from the first element on.
    pub(crate) fn data(&self) -> &[f32] {
        let storage = self.0.storage::<f32>();
        match self.0.layout().contiguous_offsets() {
            Some((start, end)) => &storage[start..end],
            None => &storage[self.0.layout().start_offset()..],
        }
    }

    /// All elements in order of a tensor that may be in 16 bits.
    pub(crate) fn elements(&self) -> Elements<'_> {
        let (start, end) = (self.0.layout().contiguous_offsets()).expect("arrives contiguous");
        match self.0.dtype() {
            DType::F16 => Elements::F16(&self.0.storage()[start..end]),
            DType::BF16 => Elements::Bf16(&self.0.storage()[start..end]),
            _ => Elements::F32(&self.0.storage()[start..end]),
        }
    }

    pub(crate) fn shape(&self) -> &[usize] {
        self.0.layout().shape()
    }

    /// Distance in elements of neighbours along an axis.
    pub(crate) fn stride(&self, axis: usize) -> usize {
        self.0.layout().strides()[axis] as usize // not negative, checked in `new`
    }

    /// As it lies, if rows are contiguous.
    pub(crate) fn strided(tensor: FlexTensor) -> Self {
        Self::new(tensor, true)
    }

    fn new(tensor: FlexTensor, rows: bool) -> Self {
        let layout = tensor.layout();
        let readable = layout.is_contiguous()
            || rows
                && layout.strides().last() == Some(&1)
                && layout.strides().iter().all(|s| *s >= 0);
        Self(if readable {
            tensor
        } else {
            tensor.to_contiguous()
        })
    }
}

/// A new tensor: contiguous unless strides are given.
pub(crate) struct Output {
    pub data: Vec<f32>,
    pub shape: Vec<usize>,
    pub strides: Option<Vec<usize>>,
}

impl Output {
    pub(crate) fn new(data: Vec<f32>, shape: &[usize]) -> Self {
        Self {
            data,
            shape: shape.to_vec(),
            strides: None,
        }
    }

    pub(crate) fn into_tensor(self) -> FlexTensor {
        let shape = Shape::from(self.shape);
        let layout = match self.strides {
            Some(strides) => {
                Layout::new(shape, strides.into_iter().map(|s| s as isize).collect(), 0)
            }
            None => Layout::contiguous(shape),
        };
        FlexTensor::new(Bytes::from_elems(self.data), layout, DType::F32)
    }
}

/// What the backward pass of an operation gets to see.
#[derive(Debug)]
pub(crate) struct Saved {
    /// Inputs that the operation asked to keep.
    pub inputs: Vec<Option<Host>>,
    /// Shapes of all inputs.
    pub shapes: Vec<Vec<usize>>,
    /// Buffers that the forward pass kept.
    pub buffers: Vec<Vec<f32>>,
    /// The output, for [`HostOp::keeps_output`].
    pub output: Option<Host>,
}

impl Saved {
    /// Input `i`, which [`HostOp::keeps`] asked for.
    pub(crate) fn input(&self, i: usize) -> &Host {
        self.inputs[i].as_ref().expect("kept by the operation")
    }
}

/// An operation on host floats with a hand-written gradient.
pub(crate) trait HostOp: Debug + Send + Sync + 'static {
    /// Whether inputs and gradients may have gaps between rows; else they arrive contiguous.
    fn strided(&self) -> bool {
        false
    }

    /// Computes the output. Buffers pushed to `keep` come back in the backward pass; nothing
    /// needs to be kept if no element of `needs` (one per input: gradient wanted) is set.
    fn forward(&self, inputs: &[Host], needs: &[bool], keep: &mut Vec<Vec<f32>>) -> Output;

    /// Which inputs the backward pass reads, given which need a gradient.
    fn keeps(&self, needs: &[bool]) -> Vec<bool>;

    /// Whether the backward pass reads the output.
    fn keeps_output(&self) -> bool {
        false
    }

    /// Gradients of the inputs that need one, in order; others are ignored.
    fn backward(&self, grad: &Host, saved: &Saved, needs: &[bool]) -> Vec<Option<Output>>;
}

type Tracked = FloatTensor<Autodiff<Flex>>;

/// Runs `op` on tensors for which [`fused`] holds.
///
/// # Panics
/// If an input is not on the CPU back end.
pub(crate) fn apply<const D: usize>(op: impl HostOp, inputs: Vec<DispatchTensor>) -> Tensor<D> {
    let mut context = DispatchAutodiffContext::Disabled;
    let mut needs = Vec::with_capacity(inputs.len());
    let mut hosts = Vec::with_capacity(inputs.len());
    let mut guards = Vec::with_capacity(inputs.len());
    for input in inputs {
        context = context.merge(input.autodiff);
        let (primitive, tracked) = match input.kind {
            DispatchTensorKind::Flex(BackendTensor::Float(tensor)) => (tensor, None),
            DispatchTensorKind::Autodiff(inner) => match *inner {
                DispatchTensorKind::Flex(BackendTensor::Autodiff(tensor)) => {
                    let needed = tensor.is_tracked();
                    let (primitive, guard) = tensor.into_parts();
                    (primitive, Some((needed, guard)))
                }
                _ => panic!("fused operation on another device than the CPU"),
            },
            _ => panic!("fused operation on another device than the CPU"),
        };
        hosts.push(Host::new(primitive, op.strided()));
        needs.push(tracked.as_ref().is_some_and(|(needed, _)| *needed));
        guards.push(tracked.map(|(_, guard)| guard));
    }
    let mut keep = Vec::new();
    let entry = || {
        let shapes = hosts.iter().map(|host| host.shape().to_vec());
        Entry::new(&op, false, shapes.collect())
    };
    let output = timed(entry, || {
        op.forward(&hosts, &needs, &mut keep).into_tensor()
    });
    let kind = match context {
        DispatchAutodiffContext::Disabled => DispatchTensorKind::Flex(BackendTensor::Float(output)),
        DispatchAutodiffContext::Enabled(_) => {
            let output = if needs.contains(&true) {
                let kept = op.keeps(&needs);
                let saved = Saved {
                    shapes: hosts.iter().map(|host| host.shape().to_vec()).collect(),
                    inputs: hosts
                        .into_iter()
                        .zip(kept)
                        .map(|(h, k)| k.then_some(h))
                        .collect(),
                    buffers: keep,
                    output: op.keeps_output().then(|| Host(output.clone())),
                };
                let step = Step { op: Arc::new(op) };
                let guards = guards.into_iter();
                let guards = guards.map(|guard| guard.unwrap_or_else(untracked_guard));
                track(step, guards.collect(), saved, output)
            } else {
                <Autodiff<Flex> as AutodiffBackend>::from_inner(output)
            };
            DispatchTensorKind::Autodiff(Box::new(DispatchTensorKind::Flex(
                BackendTensor::Autodiff(output),
            )))
        }
    };
    Tensor::from_dispatch(DispatchTensor {
        kind,
        autodiff: context,
    })
}

/// A placeholder for an input that is not part of the gradient graph.
fn untracked_guard() -> NodeGuard {
    let empty = FlexTensor::empty(Shape::from([0]), DType::F32);
    <Autodiff<Flex> as AutodiffBackend>::from_inner(empty).node()
}

fn track(step: Step, guards: Vec<NodeGuard>, saved: Saved, output: FlexTensor) -> Tracked {
    fn with<const N: usize>(
        step: Step,
        guards: Vec<NodeGuard>,
        saved: Saved,
        output: FlexTensor,
    ) -> Tracked {
        let Ok(guards) = <[NodeGuard; N]>::try_from(guards) else {
            unreachable!("matched on the number of inputs")
        };
        let prepared = Backward::<Flex, N>::prepare::<NoCheckpointing>(step, guards);
        match prepared.compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish(Arc::new(saved), output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }
    match guards.len() {
        1 => with::<1>(step, guards, saved, output),
        2 => with::<2>(step, guards, saved, output),
        3 => with::<3>(step, guards, saved, output),
        4 => with::<4>(step, guards, saved, output),
        5 => with::<5>(step, guards, saved, output),
        n => panic!("custom operations have 1 to 5 inputs, not {n}"),
    }
}

#[derive(Debug)]
struct Step {
    op: Arc<dyn HostOp>,
}

impl<const N: usize> Backward<Flex, N> for Step {
    type State = Arc<Saved>;

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let needs: Vec<bool> = ops.parents.iter().map(Option::is_some).collect();
        let grad = Host::new(grads.consume::<Flex>(&ops.node), self.op.strided());
        let entry = || Entry::new(&self.op, true, ops.state.shapes.clone());
        let results = timed(entry, || self.op.backward(&grad, &ops.state, &needs));
        drop(grad);
        for (parent, result) in ops.parents.into_iter().zip(results) {
            if let (Some(parent), Some(result)) = (parent, result) {
                grads.register::<Flex>(parent.id, result.into_tensor());
            }
        }
    }
}

/// The host data of a tensor that [`fused`] holds for and that is not on the gradient graph.
///
/// # Panics
/// If it is elsewhere, or on the graph.
pub(crate) fn plain<const D: usize>(x: Tensor<D>) -> Host {
    Host::new(primitive(x), false)
}

/// The tensor in a plain one, see [`eager`].
///
/// # Panics
/// As [`plain`].
pub(crate) fn primitive<const D: usize>(x: Tensor<D>) -> FlexTensor {
    match x.into_dispatch().kind {
        DispatchTensorKind::Flex(BackendTensor::Float(tensor)) => tensor,
        _ => panic!("fused operation on another device than the CPU, or under autodiff"),
    }
}

/// Changes plain tensors in place where nobody shares them, in a copy elsewhere.
///
/// # Panics
/// If [`fused`] does not hold for a tensor, or it is on the gradient graph.
pub(crate) fn modify<const N: usize>(
    tensors: [Tensor<1>; N],
    other: Tensor<1>,
    body: impl FnOnce([&mut [f32]; N], &[f32]),
) -> [Tensor<1>; N] {
    let other = plain(other);
    let mut tensors = tensors.map(|x| {
        let tensor = primitive(x);
        let whole = tensor.storage::<f32>().len() == tensor.layout().num_elements();
        if whole && tensor.is_contiguous() {
            tensor
        } else {
            tensor.to_contiguous()
        }
    });
    let len = other.shape()[0];
    body(
        tensors.each_mut().map(|x| x.storage_mut::<f32>()),
        &other.data()[..len],
    );
    tensors.map(wrapped)
}

/// The inverse of [`primitive`].
pub(crate) fn wrapped<const D: usize>(tensor: FlexTensor) -> Tensor<D> {
    let kind = DispatchTensorKind::Flex(BackendTensor::Float(tensor));
    Tensor::from_dispatch(DispatchTensor {
        kind,
        autodiff: DispatchAutodiffContext::Disabled,
    })
}

/// The values of an integer tensor on the CPU back end.
pub(crate) fn integers<const D: usize>(x: Tensor<D, Int>) -> Vec<i64> {
    x.into_data().iter::<i64>().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mode::with_mode;

    #[test]
    fn which_tensors_take_the_fused_path() {
        let device = Device::flex();
        let x = Tensor::<1>::ones([3], &device);
        with_mode(Mode::Fast, || {
            assert!(fused(&x));
            assert!(fused(&x.clone().autodiff().require_grad()));
            assert!(!fused(&x.clone().cast(burn::tensor::FloatDType::F64)));
        });
        assert!(!with_mode(Mode::Reference, || fused(&x)));
    }

    /// Doubles its first input; the second is ignored.
    #[derive(Debug)]
    struct Double;

    impl HostOp for Double {
        fn forward(&self, inputs: &[Host], needs: &[bool], keep: &mut Vec<Vec<f32>>) -> Output {
            keep.push(needs.iter().map(|needed| f32::from(*needed)).collect());
            let data = inputs[0].data().iter().map(|x| 2.0 * x).collect();
            Output::new(data, inputs[0].shape())
        }

        fn keeps(&self, needs: &[bool]) -> Vec<bool> {
            needs.to_vec()
        }

        fn backward(&self, grad: &Host, saved: &Saved, needs: &[bool]) -> Vec<Option<Output>> {
            // What the forward pass was told is what the backward pass is told and was given.
            for (i, needed) in needs.iter().enumerate() {
                assert_eq!(saved.buffers[0][i] == 1.0, *needed);
                assert_eq!(saved.inputs[i].is_some(), *needed);
            }
            let data = grad.data().iter().map(|x| 2.0 * x).collect();
            vec![needs[0].then(|| Output::new(data, &saved.shapes[0])), None]
        }
    }

    #[test]
    fn frozen_inputs_are_neither_kept_nor_differentiated() {
        let device = Device::flex().autodiff();
        let x = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, 4.0]], &device).require_grad();
        let frozen = Tensor::<2>::ones([2, 2], &device);
        let inputs = vec![
            x.clone().transpose().into_dispatch(),
            frozen.clone().into_dispatch(),
        ];
        let y: Tensor<2> = apply(Double, inputs);
        assert_eq!(
            y.to_data(),
            Tensor::<2>::from_floats([[2.0, 6.0], [4.0, 8.0]], &device).to_data()
        );
        let grads = y.sum().backward();
        let gradient = x.grad(&grads).expect("a gradient").into_data();
        assert_eq!(
            gradient,
            Tensor::<2>::full([2, 2], 2.0, &Device::flex()).into_data()
        );
        assert!(frozen.grad(&grads).is_none());
    }

    #[test]
    fn plain_tensors_stay_plain() {
        let x = Tensor::<2>::ones([2, 2], &Device::flex());
        let y: Tensor<2> = apply(Double, vec![x.clone().into_dispatch(), x.into_dispatch()]);
        assert!(!y.is_autodiff());
    }
}
