"""transformers' LlamaForCausalLM and Blip2QFormerModel."""

import torch
from transformers import Blip2QFormerConfig, Blip2QFormerModel, LlamaConfig, LlamaForCausalLM

from export_perceiver import key_of, normalise_heads

from .clip import activation, size


def rope(choice, head_dim, length):
    """Fields of a rotary scaling, in the new or the old way of writing."""
    theta = choice.choice([100.0, 10000.0, 500000.0])
    kind = choice.choice(["none", "default", "linear", "dynamic", "llama3", "yarn", "longrope"])
    if kind == "none":
        return choice.choice([{}, {"rope_theta": theta}])
    fields = {"rope_type": kind}
    factor = choice.choice([1.0, 1.5, 2.0, 8.0])
    original = choice.choice([4, 8, 16, 64])
    if kind != "default":
        fields["factor"] = factor
    if kind == "llama3":
        low = choice.choice([1.0, 2.0])
        fields |= {"low_freq_factor": low, "high_freq_factor": low + choice.choice([1.0, 3.0])}
        fields["original_max_position_embeddings"] = min(original, length - 1)
    if kind == "yarn":
        fields["original_max_position_embeddings"] = original
        for key, values in {
            "beta_fast": [32.0, 16.0], "beta_slow": [1.0, 0.5], "attention_factor": [0.8, 1.2], "truncate": [True, False],
        }.items():
            if choice.random() < 0.3:
                fields[key] = choice.choice(values)
        if choice.random() < 0.3:
            fields |= {"mscale": choice.choice([0.7, 1.0]), "mscale_all_dim": choice.choice([0.5, 1.0])}
    if kind == "longrope":
        fields["original_max_position_embeddings"] = original
        fields["short_factor"] = [1 + choice.random() for _ in range(head_dim // 2)]
        fields["long_factor"] = [1 + 5 * choice.random() for _ in range(head_dim // 2)]
        if choice.random() < 0.3:
            fields["attention_factor"] = choice.choice([0.8, 1.2])
        if choice.random() < 0.3:
            del fields["factor"]
    if choice.random() < 0.4:
        if choice.random() < 0.4:  # as written before `rope_type`
            fields["type"] = fields.pop("rope_type")
        return {"rope_theta": theta, "rope_scaling": fields}
    return {"rope_parameters": fields | {"rope_theta": theta}}


def llama(choice):
    groups, per = choice.randint(1, 3), choice.randint(1, 3)
    heads = groups * per
    head_dim = 2 * size(choice, (2, 8), 50)
    own_width = choice.random() < 0.3
    hidden = heads * (choice.randint(2, 12) if own_width else head_dim)
    length = choice.choice([8, 20, 64, 2048])
    fields = rope(choice, head_dim, length)
    config = LlamaConfig(
        vocab_size=choice.randint(5, 90),
        hidden_size=hidden,
        intermediate_size=size(choice, (5, 60), 700),
        num_hidden_layers=choice.randint(0, 4),
        num_attention_heads=heads,
        num_key_value_heads=None if groups == heads and choice.random() < 0.5 else groups,
        head_dim=head_dim if own_width else None,
        hidden_act=choice.choice(["silu", "silu", activation(choice)]),
        max_position_embeddings=length,
        tie_word_embeddings=choice.choice([True, False]),
        attention_bias=choice.choice([True, False]),
        mlp_bias=choice.choice([True, False]),
        rms_norm_eps=choice.choice([1e-6, 1e-5, 1e-3]),
        pad_token_id=0,
        **{k: dict(v) if isinstance(v, dict) else v for k, v in fields.items()},
    )
    model = LlamaForCausalLM(config)
    batch, seq = choice.randint(1, 3), max(2, size(choice, (2, 40), 300))
    if config.rope_parameters["rope_type"] in ("default", "linear", "llama3", "yarn"):
        seq = min(seq, max(2, length))
    ids = torch.randint(0, config.vocab_size, (batch, seq))
    inputs = {"input_ids": ids}
    if choice.random() < 0.7:
        mask = torch.ones_like(ids)
        for row in range(batch):
            count = choice.choice([0, choice.randint(0, seq - 1)])
            if choice.random() < 0.7:
                mask[row, :count] = 0
            else:
                mask[row, seq - count :] = 0
        inputs["attention_mask"] = mask

    def run(input_ids, attention_mask=None):
        # Positions count on from the left edge, as the class does by default.
        return {"logits": model(input_ids=input_ids, attention_mask=attention_mask).logits}

    written = config.to_dict()
    if "rope_parameters" not in fields:  # as files before transformers 5 have it
        del written["rope_parameters"]
        written |= fields
    return written, model, inputs, run


class Renamed(torch.nn.Module):
    """Norms of heads under deem's keys."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def state_dict(self):
        return {key_of(k): v for k, v in self.module.state_dict().items()}


def perceiver(choice):
    heads = choice.choice([1, 2, 3, 4])
    config = Blip2QFormerConfig(
        hidden_size=heads * size(choice, (3, 14), 100),
        num_hidden_layers=choice.randint(0, 5),
        num_attention_heads=heads,
        intermediate_size=size(choice, (5, 60), 700),
        hidden_act=choice.choice(["gelu", "gelu", activation(choice)]),
        layer_norm_eps=choice.choice([1e-12, 1e-6]),
        cross_attention_frequency=choice.randint(1, 3),
        encoder_hidden_size=choice.randint(3, 40),
        use_qformer_text_input=choice.random() < 0.2,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = Blip2QFormerModel(config)
    written = config.to_dict()
    qk = choice.random() < 0.4
    if qk or choice.random() < 0.3:
        written["qk_normalization"] = qk
    if qk:
        normalise_heads(model)
    batch, length = choice.randint(1, 3), size(choice, (1, 20), 400)
    inputs = {
        "query_embeds": torch.randn(batch, size(choice, (1, 9), 80), config.hidden_size),
        "encoder_hidden_states": torch.randn(batch, length, config.encoder_hidden_size),
    }
    if choice.random() < 0.5:
        mask = torch.randint(0, 2, (batch, length))
        if choice.random() < 0.8:  # otherwise a row may see nothing, which to the class is everything alike
            mask[:, choice.randrange(length)] = 1
        inputs["encoder_attention_mask"] = mask

    def run(query_embeds, encoder_hidden_states, encoder_attention_mask=None):
        output = model(
            query_embeds=query_embeds,
            encoder_hidden_states=encoder_hidden_states,
            encoder_attention_mask=encoder_attention_mask,
        )
        return {"last_hidden_state": output.last_hidden_state}

    return written, Renamed(model), inputs, run
