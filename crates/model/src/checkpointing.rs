//! Checkpointing of whole blocks (Chen et al. 2016): a block keeps its inputs only and is computed again in
//! the backward pass. A third of the memory for about a fifth of the time.
//!
//! Frozen and trained blocks alike: weights that are trained get their gradient from the second computation.
//! A block none of whose inputs needs a gradient is run plainly, activations kept.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};
use deem_kernels::{self as kernels, Leaf, LeafGradient};
use serde::{Deserialize, Serialize};

/// Which networks of a model checkpoint their blocks while they are trained, or trained through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointBlocks {
    /// Layers of the image tower.
    pub image_encoder: bool,
    /// Layers of the language model, without their MMFS blocks.
    pub llama: bool,
    /// Layers of the UNet, without its MMFS blocks.
    pub unet: bool,
}

impl CheckpointBlocks {
    /// Everywhere.
    pub const ALL: Self = Self {
        image_encoder: true,
        llama: true,
        unet: true,
    };

    /// Whether no network does.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// The block of the language model or the UNet that a parameter of a whole model is used in alone, if that block is
    /// checkpointed: its weights are needed only while it runs.
    pub fn block_of(&self, path: &str) -> Option<String> {
        if let Some(within) = path.strip_prefix("llama.model.layers.") {
            let (layer, part) = within.split_once('.')?;
            let own = part.starts_with("self_attn.") || part.starts_with("mlp.");
            return (self.llama && own).then(|| format!("llama.model.layers.{layer}"));
        }
        let within = path.strip_prefix("unet.").filter(|_| self.unet)?;
        let parts: Vec<&str> = within.split('.').collect();
        let own = |part: &&str| ["resnets", "attentions"].contains(part);
        let at = parts.iter().position(own)?;
        // A residual block and the transformer of the same number run together.
        Some(format!(
            "unet.{}.{}",
            parts[..at].join("."),
            parts.get(at + 1)?
        ))
    }
}

/// Runs `block` on a module and some inputs, and runs it again in the backward pass.
///
/// `block` must be a function of its arguments: it is given the module with other tensors inside.
pub(crate) fn checkpoint<M, const N: usize>(
    module: &M,
    inputs: [Tensor<3>; N],
    block: impl Fn(&M, [Tensor<3>; N]) -> Tensor<3> + Send + Sync + 'static,
) -> Tensor<3>
where
    M: Module + Send + Sync + 'static,
{
    if !inputs.iter().any(Tensor::is_tracked) || !kernels::checkpoints() {
        return block(module, inputs);
    }
    let mut leaves = Leaves::default();
    module.visit(&mut leaves);
    let weights = module.clone().map(&mut Detached);
    let places = leaves.0;
    let trained: Vec<bool> = places.iter().map(Option::is_some).collect();
    let found = |inputs: Vec<Tensor<3>>| inputs.try_into().expect("as many inputs as were given");
    let output = block(
        &weights,
        inputs
            .clone()
            .map(|x| if x.is_autodiff() { x.inner() } else { x }),
    );
    let again = move |inputs: Vec<Tensor<3>>| {
        let mut fresh = Fresh {
            trained: trained.clone().into_iter(),
        };
        let weights = weights.clone().map(&mut fresh);
        let output = block(&weights, found(inputs));
        let places = places.clone();
        let gradients = move |gradients: &mut Gradients| {
            let mut collector = Collector {
                places: places.into_iter(),
                gradients,
                found: Vec::new(),
            };
            weights.visit(&mut collector);
            collector.found
        };
        (output, gradients)
    };
    kernels::recomputed(inputs.into(), output, again)
}

/// Places of the trained weights in the gradient graph, in the order of a visit.
#[derive(Default)]
struct Leaves(Vec<Option<Leaf>>);

impl ModuleVisitor for Leaves {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(Leaf::of(&param.val()));
    }
}

/// Takes all weights off the graph.
struct Detached;

impl ModuleMapper for Detached {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let value = param.val();
        let value = if value.is_autodiff() {
            value.inner()
        } else {
            value
        };
        Param::initialized(param.id, value)
    }
}

/// Puts weights on a graph of their own, the trained ones as its leaves.
struct Fresh {
    trained: std::vec::IntoIter<bool>,
}

impl ModuleMapper for Fresh {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let value = param.val().autodiff();
        let value = match self.trained.next() {
            Some(true) => value.require_grad(),
            _ => value,
        };
        Param::initialized(param.id, value)
    }
}

/// Gradients of fresh weights, for the places of those that they stand for.
struct Collector<'a> {
    places: std::vec::IntoIter<Option<Leaf>>,
    gradients: &'a mut Gradients,
    found: Vec<LeafGradient>,
}

impl ModuleVisitor for Collector<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(place) = self.places.next().flatten() else {
            return;
        };
        if let Some(gradient) = param.val().grad_remove(self.gradients) {
            self.found.push(LeafGradient::new(place, gradient));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use burn::tensor::Device;

    use super::*;
    use crate::nn::Linear;
    use crate::weights::init::{Fill, initialize};

    type Gradients = [Option<Vec<f32>>; 4];

    /// Gradients of the input and of a trained weight, a trained bias and a frozen weight; and how often the
    /// block ran.
    fn run(recompute: bool) -> (Gradients, usize) {
        let device = Device::flex().autodiff();
        let layer = || Linear::new(3, 3, true, &device);
        let rules = [("", Fill::Normal(1.0))];
        let trained = initialize(layer(), 1, &rules);
        let frozen = initialize(layer(), 2, &rules).no_grad();
        let layers = (trained, frozen);
        let x = Tensor::<1>::from_floats([0.5, -1.0, 2.0], &device)
            .reshape([1, 1, 3])
            .require_grad();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let block = move |layers: &(Linear, Linear), [x]: [Tensor<3>; 1]| {
            counted.fetch_add(1, Ordering::Relaxed);
            layers.1.forward(layers.0.forward(x.clone()).exp()) * x
        };
        let y = if recompute {
            checkpoint(&layers, [x.clone()], block)
        } else {
            block(&layers, [x.clone()])
        };
        let gradients = y.square().sum().backward();
        fn values<const D: usize>(x: Option<Tensor<D>>) -> Option<Vec<f32>> {
            Some(x?.into_data().iter::<f32>().collect())
        }
        let bias = layers.0.bias.as_ref().map(|bias| bias.val());
        let found = [
            values(x.grad(&gradients)),
            values(layers.0.weight.val().grad(&gradients)),
            values(bias.and_then(|bias| bias.grad(&gradients))),
            values(layers.1.weight.val().grad(&gradients)),
        ];
        (found, calls.load(Ordering::Relaxed))
    }

    #[test]
    fn trained_and_frozen_weights_get_what_they_get_without() {
        // Reference kernels keep what blocks make.
        let run = |recompute| kernels::with_mode(kernels::Mode::Fast, || run(recompute));
        let ((plain, once), (again, twice)) = (run(false), run(true));
        assert_eq!((once, twice), (1, 2));
        assert!(plain[3].is_none() && again[3].is_none());
        for (plain, again) in plain[..3].iter().zip(&again[..3]) {
            let (plain, again) = (plain.as_ref().unwrap(), again.as_ref().unwrap());
            assert!(plain.iter().any(|value| value.abs() > 1e-3));
            for (a, b) in plain.iter().zip(again) {
                assert!((a - b).abs() <= 1e-5 * a.abs(), "{plain:?} {again:?}");
            }
        }
    }

    #[test]
    fn parameters_of_checkpointed_blocks_are_known_by_their_paths() {
        let block = |path| CheckpointBlocks::ALL.block_of(path);
        for (path, expected) in [
            (
                "llama.model.layers.3.mlp.up_proj.weight",
                Some("llama.model.layers.3"),
            ),
            (
                "llama.model.layers.3.self_attn.q_proj.weight",
                Some("llama.model.layers.3"),
            ),
            ("llama.model.layers.3.mmfs.attn.value_proj.weight", None),
            ("llama.model.layers.3.input_layernorm.weight", None),
            ("llama.lm_head.weight", None),
            (
                "unet.up_blocks.1.resnets.0.conv1.weight",
                Some("unet.up_blocks.1.0"),
            ),
            (
                "unet.up_blocks.1.attentions.0.proj_in.weight",
                Some("unet.up_blocks.1.0"),
            ),
            (
                "unet.mid_block.resnets.1.conv1.weight",
                Some("unet.mid_block.1"),
            ),
            ("unet.down_blocks.0.downsamplers.0.conv.weight", None),
            ("autoencoder.encoder.mid_block.resnets.0.conv1.weight", None),
        ] {
            assert_eq!(block(path).as_deref(), expected, "{path}");
        }
        let path = "unet.mid_block.resnets.1.conv1.weight";
        let unet = CheckpointBlocks {
            unet: false,
            ..CheckpointBlocks::ALL
        };
        assert_eq!(unet.block_of(path), None);
    }

    #[test]
    fn configurations_name_the_networks() {
        let some: CheckpointBlocks = serde_json::from_str(r#"{"unet": true}"#).unwrap();
        assert!(some.unet && !some.llama && !some.image_encoder && !some.is_none());
        assert!(serde_json::from_str::<CheckpointBlocks>(r#"{"lama": true}"#).is_err());
    }
}
