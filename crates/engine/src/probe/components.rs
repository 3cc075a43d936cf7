//! The components by name.

use super::tensors::Tensors;
use super::{Probe, networks, own, schedules};
use crate::EngineError;

/// A network that can be probed, by its public class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// transformers `CLIPVisionModel`.
    ClipVit,
    /// transformers `CLIPTextModel`.
    ClipText,
    /// transformers `SiglipVisionModel`.
    Siglip,
    /// transformers `SiglipTextModel`.
    SiglipText,
    /// timm `ConvNeXt`.
    ConvNext,
    /// transformers `Blip2QFormerModel`.
    Perceiver,
    /// transformers `LlamaForCausalLM`.
    Llama,
    /// diffusers `UNet2DConditionModel`.
    UNet,
    /// diffusers `AutoencoderKL`, encoding.
    VaeEncoder,
    /// diffusers `AutoencoderKL`, decoding.
    VaeDecoder,
    /// diffusers noise schedules.
    Scheduler,
    /// diffusers `DDIMScheduler`.
    Ddim,
    /// diffusers `DPMSolverMultistepScheduler`.
    DpmSolver,
    /// Multi-scale deformable attention, without weights.
    DeformAttn,
    /// Deem's deformable attention over several images.
    Mmfs,
    /// Deem's mask-aware extractor, without weights.
    MaskExtractor,
    /// Deem's ViT with an adapter: its pyramid.
    VitAdapter,
    /// The composition: the three losses of a batch.
    Deem,
}

impl Network {
    /// All of them, by name.
    pub const ALL: [(&'static str, Self); 18] = [
        ("clip-vit", Self::ClipVit),
        ("clip-text", Self::ClipText),
        ("siglip", Self::Siglip),
        ("siglip-text", Self::SiglipText),
        ("convnext", Self::ConvNext),
        ("perceiver", Self::Perceiver),
        ("llama", Self::Llama),
        ("unet", Self::UNet),
        ("vae-encoder", Self::VaeEncoder),
        ("vae-decoder", Self::VaeDecoder),
        ("scheduler", Self::Scheduler),
        ("ddim", Self::Ddim),
        ("dpm-solver", Self::DpmSolver),
        ("deform-attn", Self::DeformAttn),
        ("mmfs", Self::Mmfs),
        ("mask-extractor", Self::MaskExtractor),
        ("vit-adapter", Self::VitAdapter),
        ("deem", Self::Deem),
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, component)| *component == self)
            .map_or("", |(name, _)| name)
    }
}

/// Feeds `tensors` through the component.
pub(super) fn run(probe: &Probe, tensors: &mut Tensors) -> Result<(), EngineError> {
    match probe.component {
        Network::ClipVit => networks::clip_vit(probe, tensors),
        Network::ClipText => networks::clip_text(probe, tensors),
        Network::Siglip => networks::siglip(probe, tensors),
        Network::SiglipText => networks::siglip_text(probe, tensors),
        Network::ConvNext => networks::convnext(probe, tensors),
        Network::Perceiver => networks::perceiver(probe, tensors),
        Network::Llama => networks::llama(probe, tensors),
        Network::UNet => networks::unet(probe, tensors),
        Network::VaeEncoder => networks::vae_encoder(probe, tensors),
        Network::VaeDecoder => networks::vae_decoder(probe, tensors),
        Network::Scheduler => schedules::scheduler(probe, tensors),
        Network::Ddim => schedules::ddim(probe, tensors),
        Network::DpmSolver => schedules::dpm_solver(probe, tensors),
        Network::DeformAttn => own::deform_attn(tensors),
        Network::Mmfs => own::mmfs(probe, tensors),
        Network::MaskExtractor => own::mask_extractor(tensors),
        Network::VitAdapter => own::vit_adapter(probe, tensors),
        Network::Deem => own::deem(probe, tensors),
    }
}
