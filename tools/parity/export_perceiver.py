"""Golden files of the perceiver resampler: transformers' Q-Former, plus qk-norm.

transformers has no qk-norm: it is added inside the query and key projections, which is the same,
since the Q-Former only splits heads after them. No gradient is kept for the bias of a key: it shifts
all scores of a query alike, so its gradient is zero.
"""

import torch
from torch import nn
from transformers import Blip2QFormerConfig, Blip2QFormerModel

from golden import export, generator, normal, parameters, randomize


class NormedLinear(nn.Module):
    """A projection whose heads are normalised one by one."""

    def __init__(self, linear, head_dim, eps):
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self.norm = nn.LayerNorm(head_dim, eps=eps)

    def forward(self, x):
        y = nn.functional.linear(x, self.weight, self.bias)
        heads = y.unflatten(-1, (-1, self.norm.normalized_shape[0]))
        return self.norm(heads).flatten(-2)


def normalise_heads(model):
    """Adds qk-norm to a Q-Former."""
    for module in list(model.modules()):
        if type(module).__name__ == "Blip2QFormerMultiHeadAttention":
            head_dim, eps = module.attention_head_size, model.config.layer_norm_eps
            module.query = NormedLinear(module.query, head_dim, eps)
            module.key = NormedLinear(module.key, head_dim, eps)


def key_of(name):
    return name.replace(".query.norm.", ".q_norm.").replace(".key.norm.", ".k_norm.")


def perceiver(name, seed, qk_normalization, masked, grads, **config):
    config = config | dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = Blip2QFormerModel(Blip2QFormerConfig(**config, attn_implementation="eager"))
    if qk_normalization:
        normalise_heads(model)
    randomize(model, seed)
    gen = generator(seed + 1)
    batch = 2 if masked else 3
    inputs = {
        "query_embeds": normal(gen, batch if masked else 1, 5, model.config.hidden_size).requires_grad_(),
        "encoder_hidden_states": normal(gen, batch, 9, model.config.encoder_hidden_size).requires_grad_(),
    }
    mask = None
    if masked:
        mask = torch.tensor([[1] * 9, [0, 1, 1, 0, 1, 1, 1, 0, 0]])
        inputs["encoder_attention_mask"] = mask
    out = model(
        query_embeds=inputs["query_embeds"].expand(batch, -1, -1),
        encoder_hidden_states=inputs["encoder_hidden_states"],
        encoder_attention_mask=mask,
    )
    weights = {key_of(k): v for k, v in parameters(model).items()}
    outputs = {"last_hidden_state": out.last_hidden_state}
    config["qk_normalization"] = qk_normalization
    export(name, config, weights, inputs, outputs, ["last_hidden_state"], grads)


if __name__ == "__main__":
    layer = "encoder.layer"
    perceiver(
        "perceiver", 100, False, True,
        [
            "layernorm.weight",
            f"{layer}.0.attention.attention.value.weight",
            f"{layer}.0.crossattention.attention.key.weight",
            f"{layer}.2.crossattention.output.dense.weight",
            f"{layer}.1.attention.output.LayerNorm.bias",
            f"{layer}.2.intermediate_query.dense.bias",
            f"{layer}.2.output_query.dense.weight",
        ],
        hidden_size=24, num_hidden_layers=3, num_attention_heads=3, intermediate_size=40,
        encoder_hidden_size=14, cross_attention_frequency=2, hidden_act="gelu",
    )
    perceiver(
        "perceiver_qk_norm", 101, True, False,
        [
            f"{layer}.0.attention.attention.q_norm.weight",
            f"{layer}.0.crossattention.attention.k_norm.weight",
            f"{layer}.1.crossattention.attention.q_norm.bias",
            f"{layer}.1.attention.attention.query.weight",
            f"{layer}.1.crossattention.attention.key.weight",
            f"{layer}.1.crossattention.attention.value.bias",
        ],
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        encoder_hidden_size=20, cross_attention_frequency=1, hidden_act="gelu_new",
        layer_norm_eps=1e-6, use_qformer_text_input=True,
    )
