"""Golden files of the language model, from transformers' LlamaForCausalLM."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from golden import export, generator, normal, parameters, randomize


def llama(name, seed, mask, **config):
    model = LlamaForCausalLM(LlamaConfig(**config, attn_implementation="sdpa"))
    randomize(model, seed)
    mask = torch.tensor(mask)
    gen = generator(seed + 1)
    ids = torch.randint(config["vocab_size"], mask.shape, generator=gen)
    embeds = normal(gen, *mask.shape, config["hidden_size"]).requires_grad_()
    inputs = {"input_ids": ids, "attention_mask": mask, "inputs_embeds": embeds}
    out = model(inputs_embeds=embeds, attention_mask=mask, output_hidden_states=True)
    outputs = {
        "logits": out.logits,
        "hidden": out.hidden_states[-1],
        "embedded": model.model.embed_tokens(ids),
        "logits_of_ids": model(input_ids=ids, attention_mask=mask).logits,
    }
    first, last = "model.layers.0", f"model.layers.{config['num_hidden_layers'] - 1}"
    grads = [
        f"{first}.self_attn.q_proj.weight",
        f"{first}.self_attn.k_proj.weight",
        f"{first}.self_attn.v_proj.weight",
        f"{first}.input_layernorm.weight",
        f"{last}.self_attn.o_proj.weight",
        f"{last}.mlp.gate_proj.weight",
        f"{last}.mlp.down_proj.weight",
        "model.norm.weight",
        "model.embed_tokens.weight",
    ]
    if config.get("attention_bias"):
        grads += [f"{first}.self_attn.k_proj.bias", f"{last}.mlp.up_proj.bias"]
    weights = parameters(model)
    grads += ["lm_head.weight"] if "lm_head.weight" in weights else []
    export(name, config, weights, inputs, outputs, ["logits", "logits_of_ids"], grads)


if __name__ == "__main__":
    full = [[1] * 9] * 2
    padded = [[0, 0, 0, 1, 1, 1, 1, 1], [1] * 8, [0] + [1] * 7]
    base = {
        "vocab_size": 23,
        "hidden_size": 24,
        "intermediate_size": 28,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5,
    }
    llama("llama", 100, full, **base, rope_theta=500.0, tie_word_embeddings=False)
    grouped = base | {
        "num_key_value_heads": 2,
        "head_dim": 10,
        "attention_bias": True,
        "mlp_bias": True,
        "tie_word_embeddings": True,
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 300.0,
            "factor": 4.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 3.0,
            "original_max_position_embeddings": 16,
        },
    }
    llama("llama_grouped_padded", 110, padded, **grouped)
    small = base | {"num_hidden_layers": 1, "num_key_value_heads": 1}
    linear = {"rope_theta": 100.0, "rope_scaling": {"type": "linear", "factor": 2.5}}
    llama("llama_linear", 120, padded, **small, **linear, hidden_act="gelu_pytorch_tanh")
    yarn = {"rope_type": "yarn", "rope_theta": 50.0, "factor": 3.0, "original_max_position_embeddings": 8}
    llama("llama_yarn", 130, full, **small, rope_parameters=yarn)
    dynamic = {"rope_type": "dynamic", "rope_theta": 80.0, "factor": 2.0}
    short = small | {"max_position_embeddings": 6}
    llama("llama_dynamic", 140, full, **short, rope_parameters=dynamic)
    longrope = {
        "rope_type": "longrope",
        "rope_theta": 90.0,
        "factor": 2.0,
        "short_factor": [1.0, 1.1, 1.2],
        "long_factor": [1.5, 2.0, 4.0],
        "original_max_position_embeddings": 6,
    }
    llama("llama_longrope", 150, full, **small, rope_parameters=longrope)
