"""From pixels to visual tokens: CLIP ConvNeXt with its pyramid, resampler, projections."""

import torch
import torch.nn.functional as F
from torch import nn

from .layers import Mlp, Named, Perceiver, sincos_2d

CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
CLIP_STD = [0.26862954, 0.26130258, 0.27577711]
POSITION_GRID = 16


class LayerNorm2d(nn.LayerNorm):
    """Over the channels of [n, c, h, w]; free of copies on channels-last maps."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNextBlock(nn.Module):
    def __init__(self, width, config):
        super().__init__()
        kernel = config["kernel_size"]
        self.conv_dw = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width, config["norm_eps"])
        self.mlp = Mlp(width, 4 * width)
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x):
        y = self.conv_dw(x).permute(0, 2, 3, 1)
        return x + (self.mlp(self.norm(y)) * self.gamma).permute(0, 3, 1, 2)


class ConvNext(nn.Module):
    def __init__(self, config):
        super().__init__()
        dims, eps, patch = config["dims"], config["norm_eps"], config["patch_size"]
        assert patch == 4 and config["ls_init_value"] is not None, "the twin knows undilated towers with layer scale"
        self.stem = nn.Sequential(nn.Conv2d(config["in_chans"], dims[0], patch, patch), LayerNorm2d(dims[0], eps))
        self.stages = nn.ModuleList()
        for index, (depth, width) in enumerate(zip(config["depths"], dims)):
            stage = Named(blocks=nn.Sequential(*(ConvNextBlock(width, config) for _ in range(depth))))
            stage.downsample = nn.Identity()
            if index > 0:
                before = dims[index - 1]
                stage.downsample = nn.Sequential(LayerNorm2d(before, eps), nn.Conv2d(before, width, 2, 2))
            self.stages.append(stage)
        self.head = Named(norm=nn.LayerNorm(dims[-1], eps))

    def forward(self, pixels):
        x, maps = self.stem(pixels), []
        for stage in self.stages:
            x = stage.blocks(stage.downsample(x))
            maps.append(x)
        return maps, self.head.norm(x.mean((2, 3)))


class Vision(nn.Module):
    """The tower and its pyramid. (CLIP's own projection head takes no part in DEEM.)"""

    def __init__(self, config):
        super().__init__()
        dims, width = config["trunk"]["dims"], config["pyramid_dim"]
        self.visual = Named(trunk=ConvNext(config["trunk"]))
        for name, channels in zip(["c2", "c3", "c4", "c5", "cls"], [*dims, dims[-1]]):
            self.add_module(f"adapter_{name}", nn.Linear(channels, width))
        self.register_buffer("mean", torch.tensor(CLIP_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(CLIP_STD).view(3, 1, 1), persistent=False)

    def forward(self, pixels):
        maps, pooled = self.visual.trunk((pixels - self.mean) / self.std)
        adapters = [self.adapter_c2, self.adapter_c3, self.adapter_c4, self.adapter_c5]
        levels = [adapter(x.permute(0, 2, 3, 1)) for adapter, x in zip(adapters, maps)]
        return levels, torch.cat([self.adapter_cls(pooled)[:, None], levels[2].flatten(1, 2)], 1)


class ImageEncoder(nn.Module):
    def __init__(self, config, image_size, llm_dim, cross_dim):
        super().__init__()
        assert config["vision"]["tower"] == "conv_next" and config["pooled_queries"]
        width, hidden = config["vision"]["pyramid_dim"], config["resampler"]["hidden_size"]
        self.vision = Vision(config["vision"])
        self.pos_proj, self.pos_ln = nn.Linear(width, width), nn.LayerNorm(width, 1e-6)
        self.ln = nn.LayerNorm(width, 1e-6)
        self.query_tokens = nn.Parameter(torch.zeros(config["queries"], hidden))
        self.query_grid = round((config["queries"] - 1) ** 0.5)
        self.resampler = Perceiver(config["resampler"])
        self.proj_t, self.proj_i = nn.Linear(hidden, llm_dim), nn.Linear(hidden, cross_dim)
        for level in range(4):
            table = sincos_2d(POSITION_GRID, width, image_size // 4 >> level)
            self.register_buffer(f"position_{level}", table, persistent=False)

    def forward(self, pixels):
        """pixels: [n, 3, h, w] in 0..1 -> embeddings, condition, pyramid (per level [n, h, w, c])."""
        levels, sequence = self.vision(pixels)
        tables = [self.position_0, self.position_1, self.position_2, self.position_3]
        sequence = self.pos_ln(self.pos_proj(sequence))
        sequence = self.ln(sequence + F.pad(self.position_2.flatten(0, 1), (0, 0, 1, 0)))
        pyramid = [level + table for level, table in zip(levels, tables)]
        regions = F.adaptive_avg_pool2d(pyramid[3].permute(0, 3, 1, 2), self.query_grid)
        start = torch.cat([sequence[:, :1], regions.flatten(2).transpose(1, 2)], 1)
        tokens = self.resampler(self.query_tokens + start, sequence)
        return self.proj_t(tokens), self.proj_i(tokens), pyramid
