"""Random configurations of the networks that `deem probe` runs, and how their public classes run them.

Every case is a function of a `random.Random`; it gives (configuration, module or None, inputs, run), where `run`
maps inputs to outputs by name. Torch's own seed is set by the caller.
"""

from . import clip, diffusion, language, own, samplers

COMPONENTS = {
    "clip-vit": clip.vit,
    "clip-text": clip.text,
    "siglip": clip.siglip,
    "siglip-text": clip.siglip_text,
    "convnext": clip.convnext,
    "perceiver": language.perceiver,
    "llama": language.llama,
    "unet": diffusion.unet,
    "vae-encoder": lambda choice: diffusion.vae(choice, "vae-encoder"),
    "vae-decoder": lambda choice: diffusion.vae(choice, "vae-decoder"),
    "scheduler": samplers.scheduler,
    "ddim": samplers.ddim,
    "dpm-solver": samplers.dpm_solver,
    "deform-attn": own.deform_attn,
    "mmfs": own.mmfs,
    "mask-extractor": own.mask_extractor,
    "vit-adapter": own.vit_adapter,
    "deem": own.deem,
}
