"""Golden file of networks of pictures and drawings: what diffusers and transformers make of config.json, field by field.

Every field that the public class has is set to other values of its kind, to null, and taken away, and some more to what is
published or tempting. `fields.safetensors` and `fields.json` as variations.py says, with `input.SET.NAME`; outputs are flat,
one behind the other; maps lie channels-last.
"""

import contextlib
import inspect
import io
import json
import logging
import tempfile
import warnings
from pathlib import Path

import diffusers
import torch
import transformers
from safetensors.torch import save_file

from golden import generator, normal, randomize
from variations import Variations, changed

ACTIVATIONS = ["gelu", "gelu_new", "quick_gelu", "relu", "silu", "swish", "mish", "tanh", "sigmoid", "prelu"]
# What changes no arithmetic, and belongs to all of a library's classes.
PLUMBING = {"transformers_version", "dtype", "architectures", "model_type", "_class_name", "_diffusers_version", "_name_or_path"}
UNET = {
    "sample_size": 4,
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": [4, 8],
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "attention_head_dim": 2,
    "cross_attention_dim": 6,
    "layers_per_block": 1,
    "norm_num_groups": 2,
}
AUTOENCODER = {
    "block_out_channels": [4, 8],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "latent_channels": 3,
    "norm_num_groups": 2,
    "sample_size": 8,
}
TOWER = {"hidden_size": 12, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION = TOWER | {"image_size": 8, "patch_size": 4}
TEXT = TOWER | {"vocab_size": 17, "max_position_embeddings": 9, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 16}

UNET_CHANGES = [
    {"act_fn": name} for name in ACTIVATIONS
] + [
    {"time_embedding_act_fn": name} for name in ("silu", "gelu", "relu", "mish", "unknown")
] + [
    {"timestep_post_act": name} for name in ("silu", "gelu", "mish", "unknown")
] + [
    {"mid_block_type": name} for name in ("UNetMidBlock2D", "UNetMidBlock2DSimpleCrossAttn", "UNetMidBlock2DCrossAttn")
] + [
    {"down_block_types": ["ResnetDownsampleBlock2D", "DownBlock2D"]},
    {"down_block_types": ["UNetResDownBlock2D", "UNetResDownBlock2D"]},
    {"down_block_types": ["SimpleCrossAttnDownBlock2D", "DownBlock2D"]},
    {"down_block_types": ["AttnDownBlock2D", "DownBlock2D"]},
    {"up_block_types": ["UpBlock2D", "SimpleCrossAttnUpBlock2D"]},
    {"only_cross_attention": [True, False]},
    {"only_cross_attention": [False, True]},
    {"attention_head_dim": [1, 4]},
    {"attention_head_dim": [2, 2]},
    {"num_attention_heads": 2},
    {"num_attention_heads": [2, 4]},
    {"cross_attention_dim": [6, 6]},
    {"cross_attention_dim": [6, 5]},
    {"layers_per_block": [1, 1]},
    {"layers_per_block": [1, 2]},
    {"transformer_layers_per_block": [1, 1]},
    {"transformer_layers_per_block": [[1], [1]]},
    {"transformer_layers_per_block": [2, 1]},
    {"transformer_layers_per_block": [[1], 1], "reverse_transformer_layers_per_block": [1, [1, 1]]},
    {"reverse_transformer_layers_per_block": [1, 1]},
    {"reverse_transformer_layers_per_block": 1},
    {"resnet_time_scale_shift": "scale_shift"},
    {"resnet_time_scale_shift": "ada_group"},
    {"resnet_time_scale_shift": "spatial"},
    {"time_embedding_type": "fourier"},
    {"encoder_hid_dim": 6},
    {"encoder_hid_dim": 5, "encoder_hid_dim_type": "text_image_proj"},
    {"encoder_hid_dim_type": "text_proj"},
    {"encoder_hid_dim_type": "image_proj"},
    {"class_embed_type": "timestep"},
    {"class_embed_type": "identity"},
    {"addition_embed_type": "text"},
    {"addition_embed_type": "text_time", "addition_time_embed_dim": 4, "projection_class_embeddings_input_dim": 8},
    {"addition_embed_type": "image"},
    {"num_class_embeds": 3},
    {"attention_type": "gated"},
    {"cross_attention_norm": "layer_norm"},
    {"cross_attention_norm": "group_norm"},
    {"conv_in_kernel": 1},
    {"conv_in_kernel": 2},
    {"conv_out_kernel": 5},
    {"time_cond_proj_dim": 3},
    {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
]
AUTOENCODER_CHANGES = [{"act_fn": name} for name in ACTIVATIONS] + [
    {"down_block_types": ["AttnDownEncoderBlock2D", "DownEncoderBlock2D"]},
    {"up_block_types": ["AttnUpDecoderBlock2D", "UpDecoderBlock2D"]},
    {"up_block_types": ["UpBlock2D", "UpDecoderBlock2D"]},
    {"latents_mean": [0.1, 0.2, 0.3], "latents_std": [1.0, 2.0, 3.0]},
    {"shift_factor": 0.25},
    {"scaling_factor": 0.3611, "shift_factor": 0.1159},
]
VISION_CHANGES = [{"hidden_act": name} for name in ACTIVATIONS] + [
    {"image_size": [8, 8]},
    {"patch_size": [4, 4]},
    {"image_size": 9},
    {"image_size": 11},
    {"num_attention_heads": 5},
    {"vision_use_head": False},
    {"quantization_config": {"quant_method": "gptq", "bits": 4}},
]
TEXT_CHANGES = [{"hidden_act": name} for name in ACTIVATIONS] + [
    {"eos_token_id": token} for token in (2, 3, 5, 15, [16], [3, 5], 99)
] + [
    {"pad_token_id": 16},
    {"bos_token_id": 5},
    {"num_attention_heads": 5},
    {"projection_size": 12},
    {"projection_size": 7},
    {"quantization_config": {"quant_method": "gptq", "bits": 4}},
]


def others(value):
    """Other values of a field."""
    yield ...
    if value is not None:
        yield None
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from {value + 1, value * 2, value // 2, 0, 1, -1} - {value}
    elif isinstance(value, float):
        yield from {value * 1.5, value + 0.25, 0.0, -1.0} - {value}
    elif isinstance(value, str):
        yield "unknown"
    elif isinstance(value, list):
        yield value[::-1]
        yield value[:-1]
        yield value + value[-1:]
        yield value[0]
        yield []
    else:
        yield from [True, 1, 2, 0.5, "unknown", [1, 1]]


def saved(model):
    """A model's configuration as its library saves it, with every field that its class can be given."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        fields = json.loads(Path(folder, "config.json").read_text())
    own = inspect.signature(type(model).__init__ if hasattr(model, "register_to_config") else type(model.config).__init__)
    for name, parameter in own.parameters.items():
        if name not in ("self", "kwargs", "config") and parameter.default is not inspect.Parameter.empty:
            fields.setdefault(name, getattr(model.config, name, parameter.default))
    for name, value in model.config.to_dict().items() if hasattr(model.config, "to_dict") else ():
        fields.setdefault(name, value)
    return json.loads(json.dumps({name: value for name, value in fields.items() if name not in ("dtype", "_name_or_path")}))


def loaded(library, kind, config, weights):
    """The model of a folder, or None where the library refuses, or makes weights up."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        Path(folder, "config.json").write_text(json.dumps(config))
        name = "diffusion_pytorch_model" if library is diffusers else "model"
        save_file(weights, str(Path(folder, f"{name}.safetensors")), metadata={"format": "pt"})
        how = {"low_cpu_mem_usage": False} if library is diffusers else {"attn_implementation": "eager"}
        try:
            model, info = kind.from_pretrained(folder, output_loading_info=True, torch_dtype=torch.float32, **how)
        except Exception:  # whatever it is, it is no result
            return None
    return None if info["missing_keys"] or info["mismatched_keys"] else model.eval()


def nhwc(x):
    return x.permute(0, 2, 3, 1)


def unet(model, inputs):
    sample = inputs["sample"].permute(0, 3, 1, 2)
    return [nhwc(model(sample, inputs["timestep"], inputs["condition"]).sample)]


def autoencoder(model, inputs):
    posterior = model.encode(inputs["pixels"].permute(0, 3, 1, 2)).latent_dist
    shift = model.config.shift_factor or 0.0
    scaled = (posterior.mean - shift) * model.config.scaling_factor
    decoded = model.decode(inputs["latents"].permute(0, 3, 1, 2)).sample
    return [nhwc(x) for x in (posterior.mean, posterior.logvar, scaled, decoded)]


def vision(model, inputs):
    output = model(pixel_values=inputs["pixels"], interpolate_pos_encoding=True)
    return [output.last_hidden_state, output["image_embeds"] if "image_embeds" in output else output.pooler_output]


def text(model, inputs):
    output = model(input_ids=inputs["ids"])
    return [output.last_hidden_state, output["text_embeds"] if "text_embeds" in output else output.pooler_output]


def maps(seed):
    gen = generator(seed)
    draw = lambda *shape: normal(gen, *shape).float()
    return {
        "sample": draw(1, 4, 4, 3),
        "condition": draw(1, 2, 6),
        "timestep": torch.tensor([417]),
        "pixels": draw(1, 8, 8, 3),
        "latents": draw(1, 4, 4, 3),
    }


def sets():
    clip_ids = torch.tensor([[0, 5, 9, 16, 3, 2, 16], [0, 7, 3, 15, 2, 16, 5]])
    drawn = maps(900)
    pixels = {"pixels": normal(generator(901), 1, 3, 8, 8).float()}
    of_unet = {name: drawn[name] for name in ("sample", "condition", "timestep")}
    of_vae = {name: drawn[name] for name in ("pixels", "latents")}
    make = diffusers.UNet2DConditionModel
    yield "unet", diffusers, make(**UNET), unet, of_unet, UNET_CHANGES
    more = UNET | {
        "attention_head_dim": [2, 4],
        "use_linear_projection": True,
        "encoder_hid_dim": 6,
        "resnet_time_scale_shift": "scale_shift",
        "time_cond_proj_dim": 3,
        "mid_block_type": "UNetMidBlock2D",
        "center_input_sample": True,
        "cross_attention_dim": 5,
    }
    yield "unet_more", diffusers, make(**more), unet, of_unet, UNET_CHANGES
    make = diffusers.AutoencoderKL
    yield "autoencoder", diffusers, make(**AUTOENCODER), autoencoder, of_vae, AUTOENCODER_CHANGES
    made = transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**VISION, projection_dim=5))
    yield "clip_vision", transformers, made, vision, pixels, VISION_CHANGES
    made = transformers.CLIPTextModelWithProjection(transformers.CLIPTextConfig(**TEXT, projection_dim=5))
    yield "clip_text", transformers, made, text, {"ids": clip_ids}, TEXT_CHANGES
    made = transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**VISION))
    yield "siglip_vision", transformers, made, vision, pixels, VISION_CHANGES
    made = transformers.SiglipTextModel(transformers.SiglipTextConfig(**TEXT))
    yield "siglip_text", transformers, made, text, {"ids": clip_ids}, TEXT_CHANGES


def main():
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    variations = Variations("output")
    for number, (name, library, model, compute, inputs, more) in enumerate(sets()):
        config = saved(model)
        weights = {key: tensor.float() for key, tensor in randomize(model, 910 + number).state_dict().items()}
        weights = {key: tensor.contiguous() for key, tensor in weights.items() if not key.endswith("position_ids")}
        variations.keep(name, config, weights)
        variations.tensors.update({f"input.{name}.{key}": tensor for key, tensor in inputs.items()})

        def reference(config):
            network = loaded(library, type(model), config, weights)
            try:
                with torch.no_grad():
                    return network and torch.cat([output.flatten() for output in compute(network, inputs)])
            except Exception:  # whatever it is, it is no result
                return None

        assert variations.add(name, {}, reference(config)) is not None, name
        fields = [field for field in config if field not in PLUMBING]
        changes = [{field: value} for field in fields for value in others(config[field])] + more
        for change in changes:
            variations.add(name, change, reference(changed(config, change)))
    variations.write("fields")


if __name__ == "__main__":
    main()
