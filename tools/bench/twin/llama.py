"""The language model: LLaMA with gated MMFS in some layers."""

import torch
import torch.nn.functional as F
from torch import nn

from .layers import GatedMmfs, Named


def rotate(x, cos, sin):
    """x: [b, heads, s, dim]; cos, sin: [b, 1, s, dim]."""
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat([-b, a], -1) * sin


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        width = config["hidden_size"]
        self.heads = config["num_attention_heads"]
        self.kv_heads = config["num_key_value_heads"] or self.heads
        self.head_dim = config["head_dim"] or width // self.heads
        self.q_proj = nn.Linear(width, self.heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(width, self.kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(width, self.kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(self.heads * self.head_dim, width, bias=False)

    def forward(self, x, cos, sin, cache):
        def split(y):
            return y.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)

        q, k, v = split(self.q_proj(x)), split(self.k_proj(x)), split(self.v_proj(x))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if cache is not None:
            k, v = cache.append(k, v)
        # Padding stands at the right, so that no counted position sees it.
        y = F.scaled_dot_product_attention(
            q, k, v, is_causal=q.shape[2] > 1, enable_gqa=self.kv_heads != self.heads
        )
        return self.o_proj(y.transpose(1, 2).flatten(2))


class Cache:
    """Keys and values of one layer, in a buffer of fixed length."""

    def __init__(self, length):
        self.length, self.used, self.kv = length, 0, None

    def append(self, *fresh):
        if self.kv is None:
            b, heads, _, dim = fresh[0].shape
            self.kv = [fresh[0].new_empty(b, heads, self.length, dim) for _ in fresh]
        end = self.used + fresh[0].shape[2]
        for buffer, new in zip(self.kv, fresh):
            buffer[:, :, self.used : end] = new
        self.used = end
        return [buffer[:, :, :end] for buffer in self.kv]


class GatedMlp(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, config, mmfs):
        super().__init__()
        width, eps = config["hidden_size"], config["rms_norm_eps"]
        self.self_attn = Attention(config)
        self.mlp = GatedMlp(width, config["intermediate_size"])
        self.input_layernorm = nn.RMSNorm(width, eps)
        self.post_attention_layernorm = nn.RMSNorm(width, eps)
        self.mmfs = GatedMmfs(mmfs, width, eps) if mmfs else None

    def forward(self, x, cos, sin, values, relative, cache):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, cache)
        if values is not None:
            x = x + self.mmfs(x, values, relative)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    def __init__(self, config, mmfs):
        super().__init__()
        assert not any(config[name] for name in ["attention_bias", "mlp_bias", "rope_scaling", "rope_parameters"])
        assert config["hidden_act"] == "silu"
        width, vocabulary = config["hidden_size"], config["vocab_size"]

        def layer(index):
            applies = mmfs and mmfs["every"] and index % mmfs["every"] == 0
            return Layer(config, mmfs if applies else None)

        self.model = Named(
            embed_tokens=nn.Embedding(vocabulary, width),
            layers=nn.ModuleList(layer(i) for i in range(config["num_hidden_layers"])),
            norm=nn.RMSNorm(width, config["rms_norm_eps"]),
        )
        self.lm_head = None if config["tie_word_embeddings"] else nn.Linear(width, vocabulary, bias=False)
        dim = config["head_dim"] or width // config["num_attention_heads"]
        theta = config["rope_theta"] or 10000.0
        frequencies = 1.0 / theta ** (torch.arange(0, dim, 2).double() / dim)
        self.register_buffer("frequencies", frequencies.float(), persistent=False)

    def embed(self, ids):
        """Tokens beyond the table are zero vectors."""
        table = self.model.embed_tokens
        known = ids < table.num_embeddings
        return table(ids.clamp_max(table.num_embeddings - 1)) * known[..., None]

    def prepare(self, maps):
        """Projected image features of each layer; `None` where a layer does not look."""
        return [None if layer.mmfs is None else layer.mmfs.values(maps) for layer in self.model.layers]

    def forward(self, x, positions, values, relative, caches=None):
        """x: [b, s, d]; positions: [b, s]; relative: [b, s, images]."""
        angles = positions[..., None].float() * self.frequencies
        angles = torch.cat([angles, angles], -1)[:, None]
        cos, sin = angles.cos(), angles.sin()
        caches = caches or [None] * len(self.model.layers)
        for layer, value, cache in zip(self.model.layers, values, caches):
            x = layer(x, cos, sin, value, relative, cache)
        return self.model.norm(x)

    def logits(self, hidden):
        head = self.lm_head or self.model.embed_tokens
        return F.linear(hidden, head.weight)
