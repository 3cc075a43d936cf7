"""diffusers' UNet2DConditionModel and AutoencoderKL."""

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from .clip import size

ACTIVATIONS = ["silu", "silu", "swish", "mish", "gelu", "relu"]


def unet(choice):
    depth = choice.randint(1, 4)
    groups = choice.choice([1, 2, 3, 4, 8])
    channels = [groups * max(2, 4 // groups, size(choice, (2, 48 // groups), 160 // groups)) for _ in range(depth)]
    down = [choice.choice(["CrossAttnDownBlock2D", "DownBlock2D"]) for _ in range(depth)]
    up = [choice.choice(["CrossAttnUpBlock2D", "UpBlock2D"]) for _ in range(depth)]
    # The inner width is the largest multiple of the heads below the channels.
    heads = choice.randint(1, min(5, *channels))
    each = [choice.randint(1, min(5, width)) for width in channels]
    config = {
        "sample_size": 8,
        "in_channels": choice.randint(1, 5),
        "out_channels": choice.randint(1, 5),
        "down_block_types": down,
        "up_block_types": up,
        "block_out_channels": channels,
        "layers_per_block": choice.choice([1, 2, 3]),
        "norm_num_groups": groups,
        "cross_attention_dim": choice.randint(3, 20),
        "attention_head_dim": choice.choice([heads, each]),
        "use_linear_projection": choice.choice([True, False]),
    }
    rare = {
        "act_fn": lambda: choice.choice(ACTIVATIONS),
        "center_input_sample": lambda: True,
        "flip_sin_to_cos": lambda: False,
        "freq_shift": lambda: 1,
        "mid_block_type": lambda: choice.choice([None, "UNetMidBlock2D"]),
        "only_cross_attention": lambda: choice.choice([True, [choice.choice([True, False]) for _ in range(depth)]]),
        "layers_per_block": lambda: [choice.randint(1, 2) for _ in range(depth)],
        "downsample_padding": lambda: choice.choice([0, 2]),
        "mid_block_scale_factor": lambda: choice.choice([0.7, 2.0]),
        "norm_eps": lambda: choice.choice([1e-6, 1e-3]),
        "cross_attention_dim": lambda: [config["cross_attention_dim"]] * depth,
        "transformer_layers_per_block": lambda: choice.choice([2, [choice.randint(1, 2) for _ in range(depth)]]),
        "resnet_time_scale_shift": lambda: "scale_shift",
        "time_embedding_dim": lambda: choice.randint(5, 30),
        "time_embedding_act_fn": lambda: choice.choice(["silu", "mish", "gelu"]),
        "timestep_post_act": lambda: choice.choice(["silu", "mish", "gelu"]),
        "conv_in_kernel": lambda: choice.choice([1, 5]),
        "conv_out_kernel": lambda: choice.choice([1, 5]),
        "encoder_hid_dim": lambda: choice.randint(3, 9),
        "upcast_attention": lambda: True,
        "mid_block_only_cross_attention": lambda: choice.choice([True, False]),
        "dropout": lambda: 0.1,
        "resnet_skip_time_act": lambda: True,
        "resnet_out_scale_factor": lambda: 1.5,
        "cross_attention_norm": lambda: "layer_norm",
    }
    if choice.random() < 0.6:
        for name in choice.sample(sorted(rare), choice.randint(1, 4)):
            config[name] = rare[name]()
    if choice.random() < 0.1:
        layers = config["layers_per_block"]
        layers = [layers] * depth if isinstance(layers, int) else layers
        deep = lambda count: [choice.randint(1, 2) for _ in range(count)]
        config["transformer_layers_per_block"] = choice.choice([deep(depth), [deep(count) for count in layers]])
        config["reverse_transformer_layers_per_block"] = choice.choice(
            [deep(depth), [deep(count + 1) for count in reversed(layers)]]
        )
    model = UNet2DConditionModel(**config)
    batch = choice.randint(1, 3)
    side = 2 ** (depth - 1)
    sides = [side * size(choice, (1, 3), 50 // side) + choice.choice([0, 0, 1]) for _ in range(2)]
    padding = config.get("downsample_padding", 1)
    if padding == 0:
        sides = [8 + part for part in sides]
    if padding == 2:  # the class makes such maps meet for odd sides only
        sides = [part + 1 - part % 2 for part in sides]
    width = config.get("encoder_hid_dim") or model.config.cross_attention_dim
    width = width if isinstance(width, int) else width[0]
    kind = choice.randrange(4)
    timesteps = torch.randint(0, 1000, (batch,))
    timesteps = timesteps[:1] if kind == 0 else timesteps[0] if kind == 1 else timesteps
    inputs = {
        "sample": torch.randn(batch, config["in_channels"], *sides),
        "timestep": timesteps,
        "encoder_hidden_states": torch.randn(batch, choice.randint(1, 9), width),
    }
    return dict(model.config), model, inputs, lambda sample, timestep, encoder_hidden_states: {
        "sample": model(sample, timestep, encoder_hidden_states).sample
    }


def vae(choice, component):
    depth = choice.randint(1, 4)
    groups = choice.choice([1, 2, 3, 4, 8])
    rare = {
        "use_quant_conv": False,
        "use_post_quant_conv": False,
        "mid_block_add_attention": False,
        "shift_factor": 0.1,
        "act_fn": choice.choice(ACTIVATIONS),
        "scaling_factor": 0.5,
        "in_channels": choice.randint(1, 4),
        "out_channels": choice.randint(1, 4),
    }
    extra = {name: rare[name] for name in choice.sample(sorted(rare), choice.randint(0, 3))}
    model = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * depth,
        up_block_types=["UpDecoderBlock2D"] * depth,
        block_out_channels=[groups * size(choice, (1, 5), 100 // groups) for _ in range(depth)],
        layers_per_block=choice.randint(1, 3),
        latent_channels=choice.randint(1, 5),
        norm_num_groups=groups,
        **extra,
    )
    batch = choice.randint(1, 2)
    if component == "vae-encoder":
        side = 2 ** (depth - 1)
        sides = [side * max(2, size(choice, (2, 4), 80 // side)) + choice.randrange(side) for _ in range(2)]
        inputs = {"sample": torch.randn(batch, model.config.in_channels, *sides)}

        def run(sample):
            posterior = model.encode(sample).latent_dist
            return {"mean": posterior.mean, "logvar": posterior.logvar}
    else:
        # PyTorch normalises no single number: one channel per group in a map of one pixel.
        sides = [max(least, size(choice, (1, 5), 80 // 2**depth)) for least in (1, 2)]
        inputs = {"sample": torch.randn(batch, model.config.latent_channels, *sides)}

        def run(sample):
            return {"sample": model.decode(sample).sample}

    return dict(model.config), model, inputs, run
