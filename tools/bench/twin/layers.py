"""What several networks share: sine-cosine positions, MLP, perceiver resampler, MMFS."""

import math

import torch
import torch.nn.functional as F
from torch import nn


def encode_positions(positions, features):
    """[n] -> [n, features], f64: sines, then cosines, wavelengths from 2π to 2π · 10000."""
    half = features // 2
    angles = positions.double()[:, None] / 10000 ** (torch.arange(half).double() / half)
    return torch.cat([angles.sin(), angles.cos()], 1)


def sincos_2d(grid, features, size):
    """A grid x grid table, resized: [size, size, features]. Rows in the first half of the features."""
    line = encode_positions(torch.arange(grid), features // 2)
    table = torch.cat([line[:, None].expand(-1, grid, -1), line[None].expand(grid, -1, -1)], 2)
    table = F.interpolate(table.permute(2, 0, 1)[None], size=(size, size), mode="bicubic", align_corners=False)
    return table[0].permute(1, 2, 0).float()


class Mlp(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Named(nn.Module):
    """Submodules under the names of a checkpoint."""

    def __init__(self, **modules):
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)


class PerceiverAttention(nn.Module):
    def __init__(self, config, key_width):
        super().__init__()
        width, self.heads = config["hidden_size"], config["num_attention_heads"]
        eps = config["layer_norm_eps"]
        norm = (lambda: nn.LayerNorm(width // self.heads, eps)) if config["qk_normalization"] else nn.Identity
        self.attention = Named(
            query=nn.Linear(width, width),
            key=nn.Linear(key_width, width),
            value=nn.Linear(key_width, width),
            q_norm=norm(),
            k_norm=norm(),
        )
        self.output = Named(dense=nn.Linear(width, width), LayerNorm=nn.LayerNorm(width, eps))

    def forward(self, x, source, mask):
        a = self.attention

        def split(y):
            return y.unflatten(-1, (self.heads, -1))

        q = a.q_norm(split(a.query(x))).transpose(1, 2)
        k = a.k_norm(split(a.key(source))).transpose(1, 2)
        v = split(a.value(source)).transpose(1, 2)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
        return self.output.LayerNorm(self.output.dense(y) + x)


class PerceiverLayer(nn.Module):
    def __init__(self, config, index):
        super().__init__()
        width, inner = config["hidden_size"], config["intermediate_size"]
        self.attention = PerceiverAttention(config, width)
        crosses = index % config["cross_attention_frequency"] == 0
        self.crossattention = PerceiverAttention(config, config["encoder_hidden_size"]) if crosses else None
        self.intermediate_query = Named(dense=nn.Linear(width, inner))
        self.output_query = Named(
            dense=nn.Linear(inner, width), LayerNorm=nn.LayerNorm(width, config["layer_norm_eps"])
        )

    def forward(self, x, sequence, mask):
        x = self.attention(x, x, None)
        if self.crossattention is not None:
            x = self.crossattention(x, sequence, mask)
        hidden = F.gelu(self.intermediate_query.dense(x))
        return self.output_query.LayerNorm(self.output_query.dense(hidden) + x)


class Perceiver(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.layernorm = nn.LayerNorm(config["hidden_size"], config["layer_norm_eps"])
        layers = nn.ModuleList(PerceiverLayer(config, i) for i in range(config["num_hidden_layers"]))
        self.encoder = Named(layer=layers)

    def forward(self, queries, sequence, real=None):
        """queries: [1 or b, q, d]; sequence: [b, n, c]; real: [b, n], false for padding."""
        x = self.layernorm(queries).expand(len(sequence), -1, -1)
        mask = None if real is None else real[:, None, None]
        for layer in self.encoder.layer:
            x = layer(x, sequence, mask)
        return x


class Mmfs(nn.Module):
    """Deformable attention over the pyramids of several images."""

    def __init__(self, config, query_dim):
        super().__init__()
        self.heads, self.points, self.levels = config["heads"], config["points"], len(config["levels"])
        self.scales = [side / config["base_size"] for side in config["levels"]]
        value_dim, inner = config["value_dim"], config["attention_dim"]
        self.sampling_offsets = nn.Linear(query_dim, self.heads * self.points * 2)
        self.dynamic_offset_mask = nn.Linear(query_dim, query_dim)
        self.attention_weights = nn.Linear(query_dim, self.heads * self.levels * (self.points + 1))
        self.value_proj = nn.Linear(value_dim, inner)
        self.output_proj = nn.Linear(inner, query_dim)
        self.query_relpos = nn.Embedding(config["max_images"], query_dim)

    def values(self, maps):
        """maps: per level [b, n, h, w, c] -> per level [b * n * heads, dim, h, w]."""
        return [
            self.value_proj(m).unflatten(-1, (self.heads, -1)).permute(0, 1, 4, 5, 2, 3).flatten(0, 2).contiguous()
            for m in maps
        ]

    def per_image(self, linear, u, relative):
        """linear(u + relpos[relative]) for every image, the table's part computed once: [b, q, n, out]."""
        table = F.linear(self.query_relpos.weight, linear.weight)
        return linear(u)[:, :, None] + F.embedding(relative.clamp_max(len(table) - 1), table)

    def forward(self, query, reference, values, relative):
        """query: [b, q, d]; reference: (x, y) in 0..1; relative: [b, q, n], 0 for invisible images."""
        b, q, n = relative.shape
        u = self.dynamic_offset_mask(query)
        offsets = self.per_image(self.sampling_offsets, u, relative).view(b, q, n, self.heads, self.points, 2)
        offsets = offsets.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)  # [b * n * heads, q, points, 2]
        scores = self.per_image(self.attention_weights, u, relative)
        scores = scores.view(b, q, n, self.heads, self.levels, self.points + 1)[..., : self.points]
        scores = scores + (relative == 0)[..., None, None, None] * -10000.0
        scores = scores.permute(0, 3, 1, 2, 4, 5).flatten(3)  # [b, heads, q, n * levels * points]
        # All ignore slots together have logit 0 and value 0.
        weights = F.pad(scores, (0, 1)).softmax(-1)[..., :-1]
        weights = weights.view(b, self.heads, q, n, self.levels, self.points).permute(4, 0, 3, 1, 2, 5)
        total = 0
        for value, scale, weight in zip(values, self.scales, weights):
            height, width = value.shape[2:]
            step = offsets.new_tensor([2 * scale / width, 2 * scale / height])
            grid = offsets * step + (2 * reference - 1)
            sampled = F.grid_sample(value, grid, align_corners=False)  # [b * n * heads, dim, q, points]
            sampled = sampled.unflatten(0, (b, n, self.heads))
            total = total + (sampled * weight[:, :, :, None]).sum((1, 5))  # [b, heads, dim, q]
        return self.output_proj(total.permute(0, 3, 1, 2).flatten(2))


class GatedMmfs(nn.Module):
    def __init__(self, config, query_dim, eps):
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(1))
        self.norm1 = nn.RMSNorm(query_dim, eps)
        self.norm2 = nn.RMSNorm(config["value_dim"], eps)
        self.attn = Mmfs(config, query_dim)

    def values(self, maps):
        return self.attn.values([self.norm2(m) for m in maps[-self.attn.levels :]])

    def forward(self, hidden, values, relative):
        return self.attn(self.norm1(hidden), 0.5, values, relative) * self.gate.tanh()


def timestep_encoding(timesteps, dim):
    """Cosines, then sines."""
    half = dim // 2
    frequencies = torch.exp(-math.log(10000) * torch.arange(half).double() / half).float()
    angles = timesteps.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], 1)
