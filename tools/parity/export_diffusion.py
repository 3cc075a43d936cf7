"""Golden files of UNet, autoencoder and schedulers, from diffusers.

Maps are written channels-last, as deem holds them.
"""

import json

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    UNet2DConditionModel,
)
from safetensors.torch import save_file

from golden import GOLDEN, export, generator, normal, parameters, randomize


def nhwc(x):
    return x.permute(0, 2, 3, 1)


def nchw(x):
    return x.permute(0, 3, 1, 2)


def unet(name, seed, size, timesteps, tokens, grads, **config):
    model = randomize(UNet2DConditionModel(**config), seed)
    gen = generator(seed + 1)
    channels = config["in_channels"]
    condition_dim = config.get("encoder_hid_dim") or config["cross_attention_dim"]
    sample = normal(gen, 2, *size, channels).requires_grad_()
    condition = normal(gen, 2, tokens, condition_dim).requires_grad_()
    timesteps = torch.tensor(timesteps)
    steps = timesteps if len(timesteps) > 1 else timesteps[0]
    prediction = model(nchw(sample), steps, condition).sample
    inputs = {"sample": sample, "encoder_hidden_states": condition, "timestep": timesteps}
    export(name, config, parameters(model), inputs, {"sample": nhwc(prediction)}, ["sample"], grads)


def unets():
    unet(
        "unet_linear_heads_per_block",
        200,
        (7, 6),
        [3, 977],
        5,
        [
            "conv_in.weight",
            "time_embedding.linear_1.weight",
            "down_blocks.0.resnets.0.time_emb_proj.weight",
            "down_blocks.0.resnets.0.norm2.weight",
            "down_blocks.0.downsamplers.0.conv.weight",
            "down_blocks.0.attentions.0.proj_in.weight",
            "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight",
            "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj.weight",
            "mid_block.attentions.0.transformer_blocks.0.ff.net.2.bias",
            "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0.weight",
            "up_blocks.0.upsamplers.0.conv.weight",
            "up_blocks.1.resnets.1.conv_shortcut.weight",
            "conv_norm_out.bias",
        ],
        in_channels=4,
        out_channels=4,
        block_out_channels=[8, 12],
        down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"],
        up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"],
        attention_head_dim=[2, 3],
        cross_attention_dim=10,
        layers_per_block=1,
        norm_num_groups=4,
        use_linear_projection=True,
    )
    unet(
        "unet_conv_heads_for_all",
        210,
        (8, 12),
        [500, 20],
        3,
        [
            "conv_in.weight",
            "down_blocks.1.attentions.1.proj_in.weight",
            "down_blocks.1.attentions.0.transformer_blocks.1.norm3.weight",
            "down_blocks.2.attentions.0.proj_out.weight",
            "down_blocks.0.downsamplers.0.conv.weight",
            "mid_block.resnets.1.conv2.weight",
            "mid_block.resnets.0.time_emb_proj.weight",
            "up_blocks.0.attentions.1.transformer_blocks.0.attn1.to_q.weight",
            "up_blocks.1.attentions.2.transformer_blocks.1.attn1.to_k.weight",
            "up_blocks.2.resnets.0.conv1.weight",
            "conv_out.weight",
        ],
        in_channels=3,
        out_channels=5,
        center_input_sample=True,
        flip_sin_to_cos=False,
        freq_shift=1,
        block_out_channels=[4, 4, 8],
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        only_cross_attention=[False, True, False],
        attention_head_dim=2,
        cross_attention_dim=6,
        layers_per_block=[1, 2, 1],
        transformer_layers_per_block=[1, 2, 1],
        downsample_padding=0,
        mid_block_scale_factor=1.4,
        norm_num_groups=2,
        norm_eps=1e-4,
        act_fn="gelu",
        resnet_time_scale_shift="scale_shift",
        time_embedding_dim=14,
        conv_in_kernel=5,
        conv_out_kernel=1,
    )
    unet(
        "unet_projected_condition",
        220,
        (5, 4),
        [731],
        4,
        [
            "encoder_hid_proj.weight",
            "time_embedding.linear_2.weight",
            "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_v.weight",
            "down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj.bias",
            "mid_block.resnets.0.conv1.weight",
            "up_blocks.0.resnets.0.conv1.weight",
        ],
        in_channels=4,
        out_channels=4,
        block_out_channels=[10, 10],
        down_block_types=["CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        mid_block_type="UNetMidBlock2D",
        up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
        attention_head_dim=[3, 2],  # 3 heads of 3 channels: narrower than the map
        cross_attention_dim=7,
        encoder_hid_dim=9,
        layers_per_block=1,
        norm_num_groups=5,
        act_fn="mish",
        time_embedding_act_fn="silu",
        timestep_post_act="gelu",
        time_cond_proj_dim=3,
        use_linear_projection=True,
    )


def autoencoder(name, seed, size, grads, rename=lambda key: key, **config):
    model = randomize(AutoencoderKL(**config), seed)
    gen = generator(seed + 1)
    factor = 2 ** (len(config["block_out_channels"]) - 1)
    pixels = normal(gen, 2, config["in_channels"], *size, std=0.5).requires_grad_()
    latents = normal(gen, 1, size[0] // factor, size[1] // factor, config["latent_channels"]).requires_grad_()
    posterior = model.encode(pixels).latent_dist
    outputs = {
        "mean": nhwc(posterior.mean),
        "logvar": nhwc(posterior.logvar),
        "sample": model.decode(nchw(latents)).sample,
    }
    inputs = {"pixels": pixels, "latents": latents}
    weights = {rename(key): value for key, value in parameters(model).items()}
    export(name, config, weights, inputs, outputs, list(outputs), [rename(key) for key in grads])


def old_attention_names(key):
    for new, old in [("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")]:
        key = key.replace(f".{new}.", f".{old}.")
    return key


def autoencoders():
    blocks = {"down_block_types": ["DownEncoderBlock2D"] * 3, "up_block_types": ["UpDecoderBlock2D"] * 3}
    grads = [
        "encoder.conv_in.weight",
        "encoder.down_blocks.0.downsamplers.0.conv.weight",
        "encoder.down_blocks.1.resnets.0.conv_shortcut.weight",
        "encoder.mid_block.attentions.0.to_k.weight",
        "encoder.mid_block.attentions.0.group_norm.weight",
        "encoder.conv_out.bias",
        "decoder.conv_in.weight",
        "decoder.mid_block.attentions.0.to_out.0.weight",
        "decoder.up_blocks.0.upsamplers.0.conv.weight",
        "decoder.up_blocks.2.resnets.1.norm1.weight",
        "quant_conv.weight",
        "post_quant_conv.weight",
    ]
    autoencoder(
        "autoencoder",
        300,
        (12, 8),
        grads,
        in_channels=3,
        out_channels=3,
        **blocks,
        block_out_channels=[4, 8, 12],
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=2,
    )
    one = {"down_block_types": ["DownEncoderBlock2D"], "up_block_types": ["UpDecoderBlock2D"]}
    autoencoder(
        "autoencoder_old_names",
        310,
        (5, 3),
        ["encoder.mid_block.attentions.0.to_q.weight", "decoder.mid_block.attentions.0.to_out.0.bias"],
        old_attention_names,
        in_channels=3,
        out_channels=3,
        **one,
        block_out_channels=[8],
        layers_per_block=1,
        latent_channels=2,
        norm_num_groups=4,
        act_fn="mish",
    )
    two = {"down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2}
    autoencoder(
        "autoencoder_bare",
        320,
        (6, 6),
        ["encoder.down_blocks.1.resnets.1.conv2.weight", "decoder.up_blocks.1.resnets.2.conv1.weight"],
        in_channels=2,
        out_channels=1,
        **two,
        block_out_channels=[6, 9],
        layers_per_block=2,
        latent_channels=5,
        norm_num_groups=3,
        act_fn="relu",
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
    )


STABLE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
COSINE = {"beta_schedule": "squaredcos_cap_v2"}
V = {"prediction_type": "v_prediction"}
X = {"prediction_type": "sample"}
SDE = {"algorithm_type": "sde-dpmsolver++"}
NOISE = {"final_sigmas_type": "sigma_min"}

NOISE_CASES = {
    "linear": {},
    "scaled_linear": STABLE,
    "cosine": COSINE,
    "sigmoid": {"beta_schedule": "sigmoid", "num_train_timesteps": 300},
    "given": {"trained_betas": [0.1, 0.2, 0.05, 0.4] * 100, "num_train_timesteps": 400},
    "zero_snr": STABLE | {"rescale_betas_zero_snr": True},
}

# name -> (number of steps, configuration)
DDIM_CASES = {
    "stable_diffusion": (7, STABLE | {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}),
    "defaults": (5, {}),
    "v": (6, STABLE | V | {"clip_sample": False}),
    "v_clipped_trailing": (9, V | {"clip_sample_range": 0.7, "timestep_spacing": "trailing"}),
    "sample_linspace": (4, X | COSINE | {"timestep_spacing": "linspace", "clip_sample": False}),
    "zero_snr": (6, STABLE | V | {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}),
    "eta": (5, STABLE | {"clip_sample": False, "eta": 0.8}),
    "eta_one_clipped": (8, {"eta": 1.0}),
}
DPM_CASES = {
    "defaults": (12, {}),
    "stable_diffusion_few": (6, STABLE | {"steps_offset": 1}),
    "stable_diffusion_many": (16, STABLE | V),
    "leading": (9, STABLE | {"steps_offset": 1, "timestep_spacing": "leading"}),
    "trailing": (7, STABLE | V | {"timestep_spacing": "trailing"}),
    "one_step": (1, STABLE),
    "first_order": (5, STABLE | {"solver_order": 1}),
    "third_order": (8, STABLE | {"solver_order": 3}),
    "third_order_many": (15, STABLE | X | {"solver_order": 3, "euler_at_final": True}),
    "heun": (6, STABLE | {"solver_type": "heun", "lower_order_final": False}),
    "karras": (10, STABLE | {"use_karras_sigmas": True}),
    "karras_cosine": (6, COSINE | {"use_karras_sigmas": True}),
    "exponential": (6, STABLE | {"use_exponential_sigmas": True}),
    "lu": (6, STABLE | {"use_lu_lambdas": True}),
    "cosine_clipped": (8, COSINE | {"lambda_min_clipped": -5.1}),
    "zero_snr": (6, STABLE | V | {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}),
    "noise_prediction": (6, STABLE | NOISE | {"algorithm_type": "dpmsolver"}),
    "noise_prediction_third": (6, STABLE | V | NOISE | {"algorithm_type": "dpmsolver", "solver_order": 3}),
    "noise_prediction_heun": (5, X | NOISE | {"algorithm_type": "dpmsolver", "solver_type": "heun"}),
    "sde": (6, STABLE | SDE),
    "sde_heun": (5, STABLE | V | SDE | {"solver_type": "heun"}),
    "sde_third": (7, STABLE | SDE | {"solver_order": 3}),
    "sde_noise_prediction": (5, STABLE | NOISE | {"algorithm_type": "sde-dpmsolver"}),
    "sde_noise_heun": (5, STABLE | NOISE | {"algorithm_type": "sde-dpmsolver", "solver_type": "heun"}),
}
MOST_STEPS = 16
SHAPE = (2, 2, 3, 2)


def trajectory(scheduler, steps, tensors, **options):
    """Samples after each step, with fixed network outputs and noise."""
    scheduler.set_timesteps(steps)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)  # or it starts at the second of two equal timesteps
    sample, samples = tensors["start"], []
    for index, timestep in enumerate(scheduler.timesteps):
        output, noise = tensors["outputs"][index], tensors["noises"][index]
        sample = scheduler.step(output, timestep, sample, variance_noise=noise, **options).prev_sample
        samples.append(sample)
    return scheduler.timesteps.tolist(), torch.stack(samples)


def schedulers():
    gen = generator(400)
    tensors = {
        "sample": normal(gen, 3, 2, 2),
        "noise": normal(gen, 3, 2, 2),
        "start": normal(gen, *SHAPE),
        "outputs": normal(gen, MOST_STEPS, *SHAPE),
        "noises": normal(gen, MOST_STEPS, *SHAPE),
    }
    tensors = {key: value.float() for key, value in tensors.items()}
    cases = {"noise": {}, "ddim": {}, "dpm": {}}
    made = dict(tensors)
    for name, config in NOISE_CASES.items():
        scheduler = DDPMScheduler(**config)
        timesteps = [0, scheduler.config.num_train_timesteps // 3, scheduler.config.num_train_timesteps - 1]
        at = torch.tensor(timesteps)
        made[f"noise.{name}.noisy"] = scheduler.add_noise(tensors["sample"], tensors["noise"], at)
        made[f"noise.{name}.velocity"] = scheduler.get_velocity(tensors["sample"], tensors["noise"], at)
        cases["noise"][name] = {"config": config, "timesteps": timesteps}
    for name, (steps, config) in DDIM_CASES.items():
        eta = config.get("eta", 0.0)
        scheduler = DDIMScheduler(**{key: value for key, value in config.items() if key != "eta"})
        timesteps, made[f"ddim.{name}"] = trajectory(scheduler, steps, tensors, eta=eta)
        cases["ddim"][name] = {"config": config, "steps": steps, "timesteps": timesteps}
    for name, (steps, config) in DPM_CASES.items():
        scheduler = DPMSolverMultistepScheduler(**config)
        timesteps, made[f"dpm.{name}"] = trajectory(scheduler, steps, tensors)
        cases["dpm"][name] = {"config": config, "steps": steps, "timesteps": timesteps}
    for name, value in made.items():
        assert value.isfinite().all(), name
    save_file({key: value.contiguous() for key, value in made.items()}, GOLDEN / "scheduler.safetensors")
    (GOLDEN / "scheduler.json").write_text(json.dumps(cases) + "\n")
    print(f"scheduler: {len(made)} tensors")


if __name__ == "__main__":
    unets()
    autoencoders()
    schedulers()
