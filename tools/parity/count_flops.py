"""Floating-point operations of forward passes of the public classes with the dimensions of configs/deem-7b-stage1.toml, as
PyTorch counts them: the figures in the test of crates/engine/src/flops.rs. Nothing is computed (device "meta").

    python tools/parity/count_flops.py
"""

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode
from transformers import ConvNextConfig, ConvNextModel


def count(name, forward):
    with FlopCounterMode(display=False) as counter:
        forward()
    print(f"{name:<12}{counter.get_total_flops():>20,}")


with torch.device("meta"):
    unet = UNet2DConditionModel(
        in_channels=4, out_channels=4,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        block_out_channels=(320, 640, 1280, 1280), layers_per_block=2, cross_attention_dim=1024,
        attention_head_dim=(5, 10, 20, 20), use_linear_projection=True)
    count("unet", lambda: unet(torch.zeros(1, 4, 64, 64), torch.tensor([1.0]), torch.zeros(1, 77, 1024)))
    autoencoder = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4)
    count("autoencoder", lambda: autoencoder.encode(torch.zeros(1, 3, 512, 512)))
    tower = ConvNextModel(ConvNextConfig(depths=[3, 3, 27, 3], hidden_sizes=[128, 256, 512, 1024]))
    count("convnext", lambda: tower(torch.zeros(1, 3, 256, 256)))
