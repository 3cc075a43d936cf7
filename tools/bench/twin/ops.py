"""The operations of `deem bench ops` in PyTorch: for each, inputs that need gradients and a function of them."""

import torch
import torch.nn.functional as F


def conv(side, images, channels, kernel, groups):
    x = torch.rand(images, channels, side, side).to(memory_format=torch.channels_last)
    w = torch.rand(channels, channels // groups, kernel, kernel).to(memory_format=torch.channels_last)
    return [x, w, torch.rand(channels)], lambda x, w, b: F.conv2d(x, w, b, padding=kernel // 2, groups=groups)


def attention(rows, heads, kv, queries, keys, dim, causal):
    def run(q, k, v):
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v, is_causal=bool(causal), enable_gqa=kv != heads).transpose(1, 2)

    return [torch.rand(rows, n, h, dim) for n, h in [(queries, heads), (keys, kv), (keys, kv)]], run


def group_norm_silu(images, side, channels, groups):
    x = torch.rand(images, channels, side, side).to(memory_format=torch.channels_last)
    return [x, torch.rand(channels), torch.rand(channels)], lambda x, w, b: F.silu(F.group_norm(x, groups, w, b))


def deformable(rows, queries, heads, points, dim, *levels):
    maps = [torch.rand(rows * heads, dim, side, side) for side in levels]
    grids = [torch.rand(rows * heads, queries, points, 2) for _ in levels]
    weights = [torch.rand(rows * heads, 1, queries, points) for _ in levels]

    def run(*tensors):
        n = len(levels)
        parts = zip(tensors[:n], tensors[n : 2 * n], tensors[2 * n :])
        return sum((F.grid_sample(m, g * 2 - 1, align_corners=False) * w).sum(-1) for m, g, w in parts)

    return maps + grids + weights, run


def gated_mlp(rows, width, inner):
    inputs = [torch.rand(shape) for shape in [(rows, width), (inner, width), (inner, width), (width, inner)]]
    return inputs, lambda x, gate, up, down: F.linear(F.silu(F.linear(x, gate)) * F.linear(x, up), down)


def mlp(rows, width, inner):
    shapes = [(rows, width), (inner, width), (inner,), (width, inner), (width,)]
    return [torch.rand(shape) for shape in shapes], lambda x, w, b, v, c: F.linear(F.gelu(F.linear(x, w, b)), v, c)


def cross_entropy(rows, classes):
    targets = torch.arange(rows) % classes
    return [torch.rand(rows, classes)], lambda logits: F.cross_entropy(logits, targets, reduction="none")


OPS = {
    "linear": lambda rows, i, o: ([torch.rand(rows, i), torch.rand(o, i), torch.rand(o)], F.linear),
    "gated_mlp": gated_mlp,
    "mlp": mlp,
    "attention": attention,
    "rms_norm": lambda rows, width: (
        [torch.rand(rows, width), torch.rand(width)], lambda x, w: F.rms_norm(x, (width,), w, 1e-6)
    ),
    "layer_norm": lambda rows, width: (
        [torch.rand(rows, width), torch.rand(width), torch.rand(width)],
        lambda x, w, b: F.layer_norm(x, (width,), w, b, 1e-6),
    ),
    "group_norm_silu": group_norm_silu,
    "conv3x3": lambda images, side, channels: conv(side, images, channels, 3, 1),
    "depthwise7x7": lambda images, side, channels: conv(side, images, channels, 7, channels),
    "gelu": lambda rows, width: ([torch.rand(rows, width)], F.gelu),
    "cross_entropy": cross_entropy,
    "deformable_attention": deformable,
}


def case(op, dims):
    """Two functions of nothing: the operation alone, and with the gradients of all its inputs."""
    if op == "adamw":
        parameter = torch.rand(*dims, requires_grad=True)
        parameter.grad = torch.rand(*dims)
        step = torch.optim.AdamW([parameter], lr=1e-3, fused=True).step
        return step, step
    inputs, run = OPS[op](*dims)
    inputs = [x.requires_grad_() for x in inputs]

    def both():
        torch.autograd.grad(run(*inputs).sum(), inputs)

    return lambda: run(*inputs), both
