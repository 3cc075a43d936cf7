"""Compares `deem probe` with the public classes at random configurations.

    python tools/parity/check_probe.py --deem target/release/deem [--seed N] [--rounds N]

Every round draws a configuration of each class, random weights and inputs, runs the public class and
`deem probe --grad`, and prints the relative L2 error of outputs and input gradients. Ends with status 1 if
a bound (1e-4 forward, 1e-3 gradient) is broken.
"""

import argparse
import json
import math
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

FORWARD, GRADIENT = 1e-4, 1e-3


def relative(found, expected):
    error = ((found - expected).norm() / expected.norm().clamp_min(1e-12)).item()
    return error if math.isfinite(error) else math.inf


def randomize(module):
    """Weights of ordinary size everywhere, also where the class starts with zeros or ones."""
    for name, parameter in module.named_parameters():
        with torch.no_grad():
            if parameter.dim() < 2:
                parameter.add_(torch.randn_like(parameter) * 0.2)
            else:
                fan_in = parameter[0].numel()
                parameter.copy_(torch.randn_like(parameter) / fan_in**0.5)


def pick(choice, *options):
    return choice.choice(options)


def clip_vit(choice):
    from transformers import CLIPVisionConfig, CLIPVisionModel

    heads = pick(choice, 1, 2, 4)
    patch = pick(choice, 4, 7, 8)
    config = CLIPVisionConfig(
        hidden_size=heads * pick(choice, 6, 8, 12),
        intermediate_size=choice.randint(10, 60),
        num_hidden_layers=choice.randint(1, 4),
        num_attention_heads=heads,
        image_size=patch * choice.randint(2, 5),
        patch_size=patch,
        hidden_act=pick(choice, "quick_gelu", "gelu"),
    )
    model = CLIPVisionModel(config)
    size = config.image_size
    inputs = {"pixel_values": torch.randn(choice.randint(1, 3), 3, size, size)}

    def run(pixel_values):
        output = model(pixel_values=pixel_values)
        return {"last_hidden_state": output.last_hidden_state, "pooler_output": output.pooler_output}

    return config.to_dict(), model, inputs, run


def clip_text(choice):
    from transformers import CLIPTextConfig, CLIPTextModel

    heads = pick(choice, 1, 2, 4)
    config = CLIPTextConfig(
        vocab_size=choice.randint(30, 80),
        hidden_size=heads * pick(choice, 6, 8, 12),
        intermediate_size=choice.randint(10, 60),
        num_hidden_layers=choice.randint(1, 4),
        num_attention_heads=heads,
        max_position_embeddings=choice.randint(12, 30),
        hidden_act=pick(choice, "quick_gelu", "gelu"),
        eos_token_id=2,
    )
    model = CLIPTextModel(config)
    ids = torch.randint(3, config.vocab_size, (choice.randint(1, 3), choice.randint(3, 12)))
    return config.to_dict(), model, {"input_ids": ids}, lambda input_ids: {
        "last_hidden_state": model(input_ids=input_ids).last_hidden_state
    }


def convnext(choice):
    from timm.models.convnext import ConvNeXt

    config = {
        "depths": [choice.randint(1, 2) for _ in range(4)],
        "dims": sorted(pick(choice, 8, 12, 16, 24) for _ in range(4)),
        "patch_size": pick(choice, 2, 4),
    }
    model = ConvNeXt(**config, num_classes=pick(choice, 0, 5))
    inputs = {"pixel_values": torch.randn(choice.randint(1, 2), 3, 64, 96)}

    def run(pixel_values):
        x, stages = model.stem(pixel_values), {}
        for number, stage in enumerate(model.stages):
            x = stages[f"stage_{number + 1}"] = stage(x)
        return {"stage_4": x} | stages

    return config, model, inputs, run


def llama(choice):
    from transformers import LlamaConfig, LlamaForCausalLM

    groups, per = pick(choice, 1, 2), pick(choice, 1, 2, 3)
    heads = groups * per
    config = LlamaConfig(
        vocab_size=choice.randint(30, 80),
        hidden_size=heads * pick(choice, 8, 12),
        intermediate_size=choice.randint(10, 60),
        num_hidden_layers=choice.randint(1, 4),
        num_attention_heads=heads,
        num_key_value_heads=groups,
        tie_word_embeddings=pick(choice, True, False),
        rms_norm_eps=pick(choice, 1e-6, 1e-5),
    )
    model = LlamaForCausalLM(config)
    batch, seq = choice.randint(1, 3), choice.randint(3, 40)
    ids = torch.randint(0, config.vocab_size, (batch, seq))
    mask = torch.ones_like(ids)
    for row in range(1, batch):
        mask[row, : choice.randint(0, seq - 2)] = 0

    def run(input_ids, attention_mask):
        # Positions count on from the left edge, as the class does by default.
        return {"logits": model(input_ids=input_ids, attention_mask=attention_mask).logits}

    return config.to_dict(), model, {"input_ids": ids, "attention_mask": mask}, run


def unet(choice):
    from diffusers import UNet2DConditionModel

    depth = choice.randint(1, 3)
    heads = pick(choice, 2, 4)
    down = [pick(choice, "CrossAttnDownBlock2D", "DownBlock2D") for _ in range(depth)]
    up = [pick(choice, "CrossAttnUpBlock2D", "UpBlock2D") for _ in range(depth)]
    config = {
        "sample_size": 8,
        "in_channels": choice.randint(2, 5),
        "out_channels": choice.randint(2, 5),
        "down_block_types": down,
        "up_block_types": up,
        "block_out_channels": [8 * choice.randint(1, 3) for _ in range(depth)],
        "layers_per_block": choice.randint(1, 2),
        "norm_num_groups": 4,
        "cross_attention_dim": 4 * choice.randint(2, 5),
        "attention_head_dim": pick(choice, heads, [heads] * depth),
        "use_linear_projection": pick(choice, True, False),
    }
    model = UNet2DConditionModel(**config)
    batch = choice.randint(1, 3)
    inputs = {
        "sample": torch.randn(batch, config["in_channels"], 8, 12),
        "timestep": torch.randint(0, 1000, (batch,)),
        "encoder_hidden_states": torch.randn(batch, choice.randint(1, 9), config["cross_attention_dim"]),
    }
    return dict(model.config), model, inputs, lambda sample, timestep, encoder_hidden_states: {
        "sample": model(sample, timestep, encoder_hidden_states).sample
    }


def vae(choice, component):
    from diffusers import AutoencoderKL

    depth = choice.randint(1, 3)
    model = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * depth,
        up_block_types=["UpDecoderBlock2D"] * depth,
        block_out_channels=[4 * choice.randint(1, 4) for _ in range(depth)],
        layers_per_block=choice.randint(1, 2),
        latent_channels=choice.randint(2, 5),
        norm_num_groups=4,
    )
    batch = choice.randint(1, 2)
    if component == "vae-encoder":
        inputs = {"sample": torch.randn(batch, 3, 16, 24)}

        def run(sample):
            posterior = model.encode(sample).latent_dist
            return {"mean": posterior.mean, "logvar": posterior.logvar}
    else:
        inputs = {"sample": torch.randn(batch, model.config.latent_channels, 4, 6)}

        def run(sample):
            return {"sample": model.decode(sample).sample}

    return dict(model.config), model, inputs, run


def perceiver(choice):
    from transformers import Blip2QFormerConfig, Blip2QFormerModel

    heads = pick(choice, 1, 2, 4)
    config = Blip2QFormerConfig(
        hidden_size=heads * pick(choice, 6, 8, 12),
        num_hidden_layers=choice.randint(1, 4),
        num_attention_heads=heads,
        intermediate_size=choice.randint(10, 60),
        cross_attention_frequency=choice.randint(1, 2),
        encoder_hidden_size=choice.randint(8, 40),
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = Blip2QFormerModel(config)
    batch = choice.randint(1, 3)
    inputs = {
        "query_embeds": torch.randn(batch, choice.randint(1, 9), config.hidden_size),
        "encoder_hidden_states": torch.randn(batch, choice.randint(2, 20), config.encoder_hidden_size),
    }
    return config.to_dict(), model, inputs, lambda query_embeds, encoder_hidden_states: {
        "last_hidden_state": model(
            query_embeds=query_embeds, encoder_hidden_states=encoder_hidden_states
        ).last_hidden_state
    }


def noise_config(choice):
    return {
        "num_train_timesteps": pick(choice, 100, 1000),
        "beta_schedule": pick(choice, "linear", "scaled_linear", "squaredcos_cap_v2"),
        "prediction_type": pick(choice, "epsilon", "v_prediction"),
        "beta_start": 0.00085,
        "beta_end": 0.012,
    }


def scheduler(choice):
    from diffusers import DDPMScheduler

    config = noise_config(choice)
    schedule = DDPMScheduler(**config)
    batch = choice.randint(1, 4)
    inputs = {
        "sample": torch.randn(batch, 4, 5, 6),
        "noise": torch.randn(batch, 4, 5, 6),
        "timesteps": torch.randint(0, config["num_train_timesteps"], (batch,)),
    }

    def run(sample, noise, timesteps):
        # Functions of the class refuse tensors that need gradients in place.
        noisy = schedule.add_noise(sample, noise, timesteps)
        return {"noisy": noisy, "velocity": schedule.get_velocity(sample, noise, timesteps)}

    return dict(schedule.config), None, inputs, run


def sampler(choice, component):
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

    kind = DDIMScheduler if component == "ddim" else DPMSolverMultistepScheduler
    config = noise_config(choice)
    if component == "ddim":
        config |= {"clip_sample": pick(choice, True, False), "set_alpha_to_one": pick(choice, True, False)}
    schedule = kind(**config)
    steps = choice.randint(5, 30)
    schedule.set_timesteps(steps)
    # The multistep solver starts anew at any step: nothing came before.
    index = choice.randint(0, steps - 1)
    inputs = {
        "sample": torch.randn(2, 4, 5, 6),
        "model_output": torch.randn(2, 4, 5, 6),
        "step": torch.tensor([index]),
    }

    def run(sample, model_output, step):
        return {"prev_sample": schedule.step(model_output, schedule.timesteps[index], sample).prev_sample}

    return dict(schedule.config) | {"num_inference_steps": steps}, None, inputs, run


def deform_attn(choice):
    batch, queries, heads, dim, points = 2, choice.randint(1, 7), choice.randint(1, 3), choice.randint(1, 9), 3
    shapes = torch.tensor([[choice.randint(1, 8), choice.randint(1, 8)] for _ in range(choice.randint(1, 3))])
    inputs = {
        "value": torch.randn(batch, int(shapes.prod(1).sum()), heads, dim),
        "spatial_shapes": shapes,
        "sampling_locations": torch.rand(batch, queries, heads, len(shapes), points, 2) * 1.4 - 0.2,
        "attention_weights": torch.rand(batch, queries, heads, len(shapes), points),
    }

    def run(value, spatial_shapes, sampling_locations, attention_weights):
        maps = value.split([int(h * w) for h, w in spatial_shapes], dim=1)
        total = 0
        for level, (features, (height, width)) in enumerate(zip(maps, spatial_shapes.tolist())):
            features = features.permute(0, 2, 3, 1).reshape(batch * heads, dim, height, width)
            grid = sampling_locations[:, :, :, level].transpose(1, 2).flatten(0, 1) * 2 - 1
            sampled = torch.nn.functional.grid_sample(features, grid, align_corners=False)
            weights = attention_weights[:, :, :, level].transpose(1, 2).flatten(0, 1)[:, None]
            total = total + (sampled * weights).sum(-1)
        return {"output": total.reshape(batch, heads * dim, queries).transpose(1, 2)}

    return {}, None, inputs, run


COMPONENTS = {
    "clip-vit": clip_vit,
    "clip-text": clip_text,
    "convnext": convnext,
    "perceiver": perceiver,
    "llama": llama,
    "unet": unet,
    "vae-encoder": lambda choice: vae(choice, "vae-encoder"),
    "vae-decoder": lambda choice: vae(choice, "vae-decoder"),
    "scheduler": scheduler,
    "ddim": lambda choice: sampler(choice, "ddim"),
    "dpm-solver": lambda choice: sampler(choice, "dpm-solver"),
    "deform-attn": deform_attn,
}


def check(deem, component, seed, folder):
    torch.manual_seed(seed)
    config, model, inputs, run = COMPONENTS[component](random.Random(seed))
    if model is not None:
        model.eval()
        randomize(model)
    for tensor in inputs.values():
        tensor.requires_grad_(tensor.is_floating_point())
    expected = run(**inputs)
    first = next(iter(expected.values()))
    if any(tensor.requires_grad for tensor in inputs.values()):
        (first.square().mean() / 2).backward()
    names = ["inputs", "outputs"] + ["weights"] * (model is not None)
    paths = {name: folder / f"{name}.safetensors" for name in names}
    if model is not None:
        state = {key: value.contiguous().clone() for key, value in model.state_dict().items()}
        save_file(state, paths["weights"])
    save_file({key: value.detach().contiguous() for key, value in inputs.items()}, paths["inputs"])
    (folder / "config.json").write_text(json.dumps(config, default=str))
    command = [deem, "probe", component, "--config", folder / "config.json", "--grad"]
    for name, path in paths.items():
        command += [f"--{name}", path]
    subprocess.run([str(part) for part in command], check=True)
    found = load_file(paths["outputs"])
    valid = inputs["attention_mask"].bool() if "attention_mask" in inputs else None
    forward = max(
        relative(found[key][valid] if valid is not None else found[key], value[valid] if valid is not None else value)
        for key, value in expected.items()
    )
    gradients = [
        relative(found[f"grad.{key}"], tensor.grad) for key, tensor in inputs.items() if tensor.grad is not None
    ]
    return forward, max(gradients, default=0.0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deem", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--component", choices=COMPONENTS)
    arguments = parser.parse_args()
    failed = False
    for component in [arguments.component] if arguments.component else COMPONENTS:
        for seed in range(arguments.seed, arguments.seed + arguments.rounds):
            with tempfile.TemporaryDirectory() as folder:
                forward, gradient = check(arguments.deem, component, seed, Path(folder))
            broken = forward > FORWARD or gradient > GRADIENT
            failed |= broken
            print(f"{component:12} seed {seed}: forward {forward:.1e}, gradient {gradient:.1e}{'  BROKEN' if broken else ''}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
