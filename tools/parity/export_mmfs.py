"""Golden files of MMFS: an independent, slow implementation written from the paper.

Everything is spelled out per query, image, head, level and point, with every ignore slot and the
zero token present.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from deformable import bilinear_sample
from golden import export, generator, normal, parameters, randomize


class Mmfs(nn.Module):
    def __init__(self, query_dim, value_dim, attention_dim, heads, points, levels, base_size, max_images, **_):
        super().__init__()
        self.heads, self.points, self.levels, self.base_size = heads, points, levels, base_size
        self.sampling_offsets = nn.Linear(query_dim, heads * points * 2)
        self.dynamic_offset_mask = nn.Linear(query_dim, query_dim)
        self.attention_weights = nn.Linear(query_dim, heads * len(levels) * (points + 1))
        self.value_proj = nn.Linear(value_dim, attention_dim)
        self.output_proj = nn.Linear(attention_dim, query_dim)
        self.query_relpos = nn.Embedding(max_images, query_dim)

    def one_query(self, x, reference, maps, k):
        """x: [query_dim]; reference: (x, y); maps: per image, per level [h, w, c], already normalised;
        k: per image, counted backwards, 0 = invisible."""
        images, levels = len(maps), len(self.levels)
        ignore_logit = -math.log(images * levels)
        logits, samples = [[] for _ in range(self.heads)], [[] for _ in range(self.heads)]
        for n in range(images):
            u = self.dynamic_offset_mask(x) + self.query_relpos.weight[k[n]]
            offsets = self.sampling_offsets(u).view(self.heads, self.points, 2)
            scores = self.attention_weights(u).view(self.heads, levels, self.points + 1)
            for level in range(levels):
                values = self.value_proj(maps[n][level])
                height, width, channels = values.shape
                dim = channels // self.heads
                scale = self.levels[level] / self.base_size
                for h in range(self.heads):
                    for p in range(self.points):
                        px = reference[0] + offsets[h, p, 0] * scale / width
                        py = reference[1] + offsets[h, p, 1] * scale / height
                        part = values[:, :, h * dim : (h + 1) * dim]
                        samples[h].append(bilinear_sample(part, px, py))
                        hidden = 0.0 if k[n] > 0 else -10000.0
                        logits[h].append(scores[h, level, p] + hidden)
                    samples[h].append(torch.zeros(dim).double())  # the frozen token
                    logits[h].append(torch.tensor(ignore_logit).double())
        heads = []
        for h in range(self.heads):
            weights = torch.stack(logits[h]).softmax(0)
            heads.append(sum(w * s for w, s in zip(weights, samples[h])))
        return self.output_proj(torch.cat(heads))

    def forward(self, query, reference, levels, relative):
        """query: [b, q, d]; reference: [b, q, 2]; levels: list of [b, n, h, w, c]; relative: [b, q, n]."""
        rows = []
        for b in range(query.shape[0]):
            maps = [[level[b, n] for level in levels] for n in range(relative.shape[2])]
            for q in range(query.shape[1]):
                k = relative[b, q].tolist()
                rows.append(self.one_query(query[b, q], reference[b, q], maps, k))
        return torch.stack(rows).view_as(query)


class RmsNorm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x):
        return self.weight * x / (x.square().mean(-1, keepdim=True) + self.eps).sqrt()


class GatedMmfs(nn.Module):
    def __init__(self, **config):
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(1))
        self.norm1 = RmsNorm(config["query_dim"], 1e-6)
        self.norm2 = RmsNorm(config["value_dim"], 1e-6)
        self.attn = Mmfs(**config)

    def forward(self, hidden, levels, relative):
        centre = torch.full((*hidden.shape[:2], 2), 0.5).double()
        levels = [self.norm2(level) for level in levels]
        return self.attn(self.norm1(hidden), centre, levels, relative) * self.gate.tanh()


def sine_cosine(size, features):
    """[size, size, features]: rows in the first half, columns in the second."""

    def encode(position, count):
        angles = [position / 10000 ** (i / (count // 2)) for i in range(count // 2)]
        return [math.sin(a) for a in angles] + [math.cos(a) for a in angles]

    half = features // 2
    table = [[encode(y, half) + encode(x, half) for x in range(size)] for y in range(size)]
    return torch.tensor(table).double()


class UnetMmfs(nn.Module):
    def __init__(self, position_grid, **config):
        super().__init__()
        width = config["query_dim"]
        self.query_norm = nn.LayerNorm(width, eps=1e-6)
        self.feat_norm = nn.LayerNorm(config["value_dim"], eps=1e-6)
        self.mmfs = Mmfs(**config)
        self.conv = nn.Conv2d(width, width, 1)
        self.table = sine_cosine(position_grid, width)

    def forward(self, x, levels, relative):
        batch, height, width, channels = x.shape
        table = F.interpolate(
            self.table.permute(2, 0, 1)[None], size=(height, width), mode="bicubic", align_corners=False
        )[0].permute(1, 2, 0)
        query = (self.query_norm(x) + table).view(batch, height * width, channels)
        points = [[(i + 0.5) / width, (j + 0.5) / height] for j in range(height) for i in range(width)]
        reference = torch.tensor(points).double().expand(batch, -1, -1)
        relative = relative[:, None].expand(-1, height * width, -1)
        levels = [self.feat_norm(level) for level in levels]
        y = self.mmfs(query, reference, levels, relative).view(batch, height, width, channels)
        return self.conv(y.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def pyramid(gen, batch, images, channels, shapes):
    return {
        f"level_{i}": normal(gen, batch, images, *shape, channels).requires_grad_()
        for i, shape in enumerate(shapes)
    }


WEIGHTS = [
    "sampling_offsets.weight",
    "sampling_offsets.bias",
    "dynamic_offset_mask.weight",
    "attention_weights.weight",
    "attention_weights.bias",
    "value_proj.weight",
    "output_proj.weight",
    "query_relpos.weight",
]


def mmfs(name, seed):
    config = dict(
        query_dim=10, value_dim=6, attention_dim=8, heads=2, points=3, levels=[6, 3],
        base_size=4, offset_init=1.0, max_images=4,
    )
    model = randomize(Mmfs(**config), seed)
    gen = generator(seed + 1)
    query = normal(gen, 2, 4, 10).requires_grad_()
    reference = torch.rand(2, 4, 2, generator=gen).double().requires_grad_()
    levels = pyramid(gen, 2, 3, 6, [(5, 7), (3, 2)])
    relative = torch.tensor(
        [[[0, 0, 0], [1, 0, 0], [2, 1, 0], [3, 2, 1]], [[0, 2, 1], [0, 0, 1], [1, 0, 0], [0, 1, 0]]]
    )
    output = model(query, reference, list(levels.values()), relative)
    inputs = {"query": query, "reference": reference, **levels, "relative": relative}
    export(name, config, parameters(model), inputs, {"output": output}, ["output"], WEIGHTS)


def gated(name, seed):
    config = dict(
        query_dim=12, value_dim=6, attention_dim=6, heads=3, points=2, levels=[4, 2, 1],
        base_size=2, offset_init=3.0, max_images=3,
    )
    model = randomize(GatedMmfs(**config), seed)
    gen = generator(seed + 1)
    hidden = normal(gen, 1, 5, 12).requires_grad_()
    levels = pyramid(gen, 1, 2, 6, [(8, 8), (4, 4), (2, 2), (1, 1)])
    used = list(levels.values())[1:]
    relative = torch.tensor([[[0, 0], [1, 0], [1, 0], [2, 1], [2, 1]]])
    output = model(hidden, used, relative)
    del levels["level_0"]  # the finest of the pyramid is not used
    inputs = {"hidden": hidden, **levels, "relative": relative}
    grads = ["gate", "norm1.weight", "norm2.weight"] + [f"attn.{key}" for key in WEIGHTS]
    export(name, config, parameters(model), inputs, {"output": output}, ["output"], grads)


def unet(name, seed):
    config = dict(
        query_dim=8, value_dim=6, attention_dim=4, heads=2, points=2, levels=[8, 4],
        base_size=4, offset_init=1.0, max_images=3,
    )
    model = randomize(UnetMmfs(6, **config), seed)
    gen = generator(seed + 1)
    x = normal(gen, 2, 4, 3, 8).requires_grad_()
    levels = pyramid(gen, 2, 2, 6, [(8, 8), (4, 4)])
    relative = torch.tensor([[2, 1], [0, 1]])
    output = model(x, list(levels.values()), relative)
    inputs = {"x": x, **levels, "relative": relative}
    grads = ["query_norm.weight", "feat_norm.bias", "conv.weight", "conv.bias"]
    grads += [f"mmfs.{key}" for key in WEIGHTS]
    export(name, config | {"position_grid": 6}, parameters(model), inputs, {"output": output}, ["output"], grads)


if __name__ == "__main__":
    mmfs("mmfs", 200)
    gated("mmfs_gated", 201)
    unet("mmfs_unet", 202)
