"""Golden file of LLaMA-like language models: what transformers makes of config.json, field by field.

`families.safetensors` and `families.json` as variations.py says, with `input_ids`.
"""

import contextlib
import io
import json
import logging
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

from golden import generator, normal
from variations import Variations, changed

CLASSES = {
    "llama": (transformers.LlamaConfig, {}),
    "mistral": (transformers.MistralConfig, {"sliding_window": 4}),
    "qwen2": (transformers.Qwen2Config, {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}),
    "qwen3": (transformers.Qwen3Config, {"head_dim": 6}),
    "granite": (
        transformers.GraniteConfig,
        {
            "embedding_multiplier": 3.0,
            "attention_multiplier": 0.7,
            "residual_multiplier": 0.6,
            "logits_scaling": 2.0,
        },
    ),
    "smollm3": (transformers.SmolLM3Config, {"no_rope_layer_interval": 2}),
    "gemma": (transformers.GemmaConfig, {"head_dim": 6}),
}
BASE = {
    "vocab_size": 17,
    "hidden_size": 16,
    "intermediate_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
    "rms_norm_eps": 1e-3,
    "tie_word_embeddings": False,
    "pad_token_id": None,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LLAMA3 = {"rope_type": "llama3", "factor": 3.0, "low_freq_factor": 1.0, "high_freq_factor": 2.0}
YARN = {"rope_type": "yarn", "factor": 2.0, "rope_theta": 30.0}
INSIDE = {"original_max_position_embeddings": 8}
# Fields and what they are set to; `None` is null, `...` is absent.
CHANGES = [
    {"hidden_act": "gelu"},
    {"hidden_act": "relu"},
    {"hidden_act": ...},
    {"hidden_activation": "relu"},
    {"rms_norm_eps": 0.3},
    {"rms_norm_eps": ...},
    {"rope_theta": 50.0, "rope_parameters": ...},
    {"rope_theta": 50.0},
    {"rope_parameters": ...},
    {"rope_parameters": {}},
    {"rope_parameters": {"rope_theta": 70.0}},
    {"rope_scaling": {"type": "linear", "factor": 2.5}},
    {"rope_scaling": {"type": "linear", "rope_type": "default", "factor": 2.5}},
    {"rope_scaling": {"type": "dynamic", "factor": 2.0}, "max_position_embeddings": 5},
    {"rope_scaling": {"type": "mrope", "mrope_section": [1, 1]}},
    {"rope_scaling": {"type": "unknown", "factor": 2.0}},
    {"rope_scaling": LLAMA3 | INSIDE},
    {"rope_scaling": LLAMA3},
    {"rope_parameters": LLAMA3, **INSIDE},
    {"rope_parameters": YARN | INSIDE},
    {"rope_parameters": YARN, "original_max_position_embeddings": 4},
    {"rope_parameters": YARN | INSIDE, "original_max_position_embeddings": 4},
    {"rope_parameters": YARN | INSIDE | {"mscale": 0.8, "mscale_all_dim": 0.4}},
    {"rope_parameters": YARN | INSIDE | {"attention_factor": 1.7}},
    {"rope_parameters": {"rope_type": "linear", "factor": 2.0}, "original_max_position_embeddings": 4},
    {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 9.0}}},
    {"partial_rotary_factor": 0.5},
    {"rope_interleaved": True},
    {"sliding_window": 3},
    {"sliding_window": None},
    {"sliding_window": ...},
    {"sliding_window": 3, "use_sliding_window": True},
    {"use_sliding_window": True},
    {"use_sliding_window": False},
    {"sliding_window": 3, "use_sliding_window": True, "max_window_layers": 0},
    {"sliding_window": 3, "use_sliding_window": True, "max_window_layers": ..., "layer_types": ...},
    {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 3, "use_sliding_window": True},
    {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 3, "use_sliding_window": False},
    {"layer_types": ["full_attention", "full_attention"]},
    {"layer_types": ["chunked_attention", "full_attention"]},
    {"layer_types": ["sliding_attention"], "sliding_window": 3},
    {"no_rope_layers": [0, 1], "layer_types": ...},
    {"no_rope_layers": [1, 1]},
    {"no_rope_layers": ..., "no_rope_layer_interval": 1, "layer_types": ...},
    {"no_rope_layers": ..., "layer_types": ..., "no_rope_layer_interval": ...},
    {"embedding_multiplier": 2.0},
    {"embedding_multiplier": ...},
    {"attention_multiplier": 0.2},
    {"attention_multiplier": ...},
    {"residual_multiplier": 0.1},
    {"residual_multiplier": ...},
    {"logits_scaling": 5.0},
    {"logits_scaling": ...},
    {"logit_scale": 0.5},
    {"final_logit_softcapping": 1.0},
    {"attn_logit_softcapping": 1.0},
    {"query_pre_attn_scalar": 3},
    {"use_qk_norm": True},
    {"clip_qkv": 0.1},
    {"use_bidirectional_attention": True},
    {"attention_bias": True},
    {"mlp_bias": True},
    {"tie_word_embeddings": True},
    {"tie_word_embeddings": ...},
    {"head_dim": ...},
    {"head_dim": 2},
    {"num_key_value_heads": 4},
    {"num_key_value_heads": ...},
    {"num_attention_heads": 2},
    {"num_hidden_layers": 1},
    {"max_position_embeddings": 3},
    {"pretraining_tp": 2},
    {"attention_dropout": 0.5},
    {"architectures": ...},
    {"architectures": ["GPT2LMHeadModel"]},
    {"model_type": "cohere"},
    {"model_type": "gemma2"},
    {"model_type": "phi3"},
    {"model_type": "olmo2"},
    {"model_type": "helium"},
    {"model_type": "stablelm"},
    {"model_type": "glm"},
]


def weights_of(family, seed):
    """A model's configuration as transformers saves it, and random weights in which everything shows."""
    config_class, own = CLASSES[family]
    config = config_class(**(BASE | own))
    model = transformers.AutoModelForCausalLM.from_config(config)
    gen = generator(seed)
    weights = {}
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            centre = 1.0 if name.endswith("norm.weight") and family != "gemma" else 0.0
            weights[name] = (centre + normal(gen, *parameter.shape, std=0.3)).float()
        else:
            std = 0.5 if "embed" in name else 1.5 / parameter.shape[1] ** 0.5
            weights[name] = normal(gen, *parameter.shape, std=std).float()
    fields = json.loads(config.to_json_string(use_diff=False))
    fields["architectures"] = [type(model).__name__]
    for field in ("transformers_version", "dtype", "_name_or_path"):
        fields.pop(field, None)
    return {k: v for k, v in fields.items() if k in CLASSES[family][0]().to_dict() or k in BASE | own}, weights


def reference(config, weights, ids):
    """Logits, or None where transformers refuses or makes weights up."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        Path(folder, "config.json").write_text(json.dumps(config))
        save_file(weights, str(Path(folder, "model.safetensors")), metadata={"format": "pt"})
        try:
            model, info = transformers.AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, output_loading_info=True, attn_implementation="eager"
            )
            if info["missing_keys"] or info["mismatched_keys"]:
                return None
            return model(input_ids=ids).logits.detach()
        except Exception:  # whatever it is, it is no result
            return None


def main():
    logging.disable(logging.CRITICAL)
    ids = torch.randint(BASE["vocab_size"], (1, 9), generator=generator(500))
    variations = Variations("logits")
    variations.tensors["input_ids"] = ids

    def add(name, weights, change):
        config = changed(variations.configs[name], change)
        return variations.add(name, change, reference(config, weights, ids))

    for number, family in enumerate(CLASSES):
        config, weights = weights_of(family, 510 + number)
        variations.keep(family, config, weights)
        assert add(family, weights, {}) is not None, family
        for change in CHANGES:
            add(family, weights, change)
    config, weights = weights_of("llama", 510)
    table, head = weights.pop("model.embed_tokens.weight"), weights.pop("lm_head.weight")
    for name, own in {
        "differs": {"model.embed_tokens.weight": table, "lm_head.weight": head},
        "equal": {"model.embed_tokens.weight": table, "lm_head.weight": table.clone()},
        "head_only": {"lm_head.weight": head},
        "table_only": {"model.embed_tokens.weight": table},
    }.items():
        variations.keep(name, config, weights | own)
        for tied in (True, False):
            add(name, weights | own, {"tie_word_embeddings": tied})
    variations.write("families")


if __name__ == "__main__":
    main()
