"""Random models of the real sizes, to see how much memory and time the full-size configurations take.

    python tools/parity/full_checkpoints.py FOLDER        # 14 GB on disk

FOLDER gets a Hugging Face cache as `tiny_checkpoints.py` makes one, with what an answer about a picture needs: Vicuna 7B
in half precision and CLIP ConvNeXt-B. Then, within FOLDER, `HF_HOME=cache deem ask … --config …/deem-7b-stage1.toml
--offline` computes what it would compute with real weights; the answers are noise.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from timm.models.convnext import ConvNeXt
from tiny_checkpoints import WORDS, snapshot, tokenizer

WIDTH, INNER, LAYERS, VOCABULARY = 4096, 11008, 32, 32000


def random(*shape):
    return (torch.randn(*shape, dtype=torch.bfloat16) * 0.02).half()


def vicuna(folder):
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": WIDTH,
        "intermediate_size": INNER, "num_hidden_layers": LAYERS, "num_attention_heads": 32,
        "num_key_value_heads": 32, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "hidden_act": "silu",
        "tie_word_embeddings": False, "rope_theta": 10000.0, "torch_dtype": "float16",
    }
    (folder / "config.json").write_text(json.dumps(config))
    square, norm = (WIDTH, WIDTH), torch.ones(WIDTH).half()
    shapes = {
        "self_attn.q_proj": square, "self_attn.k_proj": square, "self_attn.v_proj": square, "self_attn.o_proj": square,
        "mlp.gate_proj": (INNER, WIDTH), "mlp.up_proj": (INNER, WIDTH), "mlp.down_proj": (WIDTH, INNER),
    }
    where = {}

    def save(state, number):
        name = f"model-{number:05}-of-{LAYERS + 1:05}.safetensors"
        save_file(state, folder / name, metadata={"format": "pt"})
        where.update(dict.fromkeys(state, name))

    for layer in range(LAYERS):
        state = {f"model.layers.{layer}.{name}.weight": random(*shape) for name, shape in shapes.items()}
        for name in ["input_layernorm", "post_attention_layernorm"]:
            state[f"model.layers.{layer}.{name}.weight"] = norm.clone()
        save(state, layer + 1)
    table = (VOCABULARY, WIDTH)
    save({"model.embed_tokens.weight": random(*table), "model.norm.weight": norm, "lm_head.weight": random(*table)}, LAYERS + 1)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))


def words(folder):
    """The tiny tokenizer, filled up with words that never occur."""
    tokenizer(folder)
    path = folder / "tokenizer.json"
    made = json.loads(path.read_text())
    made["model"]["vocab"] |= {f"§{number}": number for number in range(WORDS, VOCABULARY)}
    path.write_text(json.dumps(made))


def convnext(folder):
    trunk = ConvNeXt(depths=(3, 3, 27, 3), dims=(128, 256, 512, 1024), num_classes=0)
    state = {f"visual.trunk.{key}": value for key, value in trunk.state_dict().items()}
    state |= {
        "visual.head.mlp.fc1.weight": torch.randn(1280, 1024) * 0.02, "visual.head.mlp.fc1.bias": torch.zeros(1280),
        "visual.head.mlp.fc2.weight": torch.randn(640, 1280) * 0.02,
    }
    save_file(state, folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text('{"model_cfg": {"embed_dim": 640}}')


def main():
    cache = Path(sys.argv[1]) / "cache"
    torch.manual_seed(1)
    vicuna(snapshot(cache, "lmsys/vicuna-7b-v1.5"))
    words(snapshot(cache, "hf-internal-testing/llama-tokenizer"))
    convnext(snapshot(cache, "laion/CLIP-convnext_base_w_320-laion_aesthetic-s13B-b82K"))


if __name__ == "__main__":
    main()
