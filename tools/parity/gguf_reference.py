"""What a LLaMA in a GGUF file computes, from the `gguf` package, PyTorch and a plain byte-pair encoder.

Nothing here goes through the `tokenizers` library or transformers' own GGUF reader, so that agreement with deem
means something.
"""

import jinja2
import numpy as np
import regex
import torch
from gguf import GGMLQuantizationType, GGUFReader, dequantize
from transformers import LlamaConfig, LlamaForCausalLM

NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


class Gguf:
    def __init__(self, path):
        self.reader = GGUFReader(path)

    def field(self, name, default=None):
        found = self.reader.get_field(name)
        return default if found is None else found.contents()

    def tensors(self):
        """Name -> numbers in single precision, as the file orders them."""
        return {t.name: self.numbers(t).reshape(t.shape[::-1]) for t in self.reader.tensors}

    @staticmethod
    def numbers(tensor):
        """The package unpacks everything but doubles."""
        if tensor.tensor_type == GGMLQuantizationType.F64:
            return tensor.data.astype(np.float32)
        return dequantize(tensor.data, tensor.tensor_type)

    def config(self):
        shapes = {t.name: t.shape for t in self.reader.tensors}
        eps = np.float32(self.field("llama.attention.layer_norm_rms_epsilon"))
        return {
            "vocab_size": int(shapes["token_embd.weight"][1]),
            "hidden_size": self.field("llama.embedding_length"),
            "intermediate_size": self.field("llama.feed_forward_length"),
            "num_hidden_layers": self.field("llama.block_count"),
            "num_attention_heads": self.field("llama.attention.head_count"),
            "num_key_value_heads": self.field("llama.attention.head_count_kv"),
            "max_position_embeddings": self.field("llama.context_length"),
            "rms_norm_eps": float(str(eps)),
            "rope_theta": self.field("llama.rope.freq_base"),
            "tie_word_embeddings": "output.weight" not in shapes,
        }

    def model(self):
        """transformers' class in single precision with the file's weights."""
        config = self.config()
        kv_heads = config["num_key_value_heads"]
        model = LlamaForCausalLM(LlamaConfig(**config)).float().eval()
        state = {}
        for name, numbers in self.tensors().items():
            if name.startswith("blk."):
                _, layer, part, kind = name.split(".")
                key = f"model.layers.{layer}.{NAMES[part]}.{kind}"
            else:
                part, kind = name.split(".")
                key = f"{NAMES[part]}.{kind}"
            heads = {"attn_q": config["num_attention_heads"], "attn_k": kv_heads}.get(part)
            numbers = torch.from_numpy(np.array(numbers))
            if heads:
                rows, columns = numbers.shape
                pairs = numbers.reshape(heads, rows // heads // 2, 2, columns)
                numbers = pairs.transpose(1, 2).reshape(rows, columns)
            state[key] = numbers.contiguous()
        if config["tie_word_embeddings"]:
            state["lm_head.weight"] = state["model.embed_tokens.weight"]
        model.load_state_dict(state, strict=True)
        return model

    def encoder(self):
        return BytePairs(self)


def letters():
    """GPT-2's table: a visible character for every byte."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    table = {byte: chr(byte) for byte in visible}
    hidden = (byte for byte in range(256) if byte not in table)
    return table | {byte: chr(256 + index) for index, byte in enumerate(hidden)}


WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


class BytePairs:
    """Byte-pair encoding by definition: of all neighbours, always join those that stand first in the list."""

    def __init__(self, file):
        tokens = file.field("tokenizer.ggml.tokens")
        kinds = file.field("tokenizer.ggml.token_type")
        self.ids = {token: index for index, token in enumerate(tokens)}
        self.control = [token for token, kind in zip(tokens, kinds) if kind == 3]
        merges = file.field("tokenizer.ggml.merges")
        self.ranks = {tuple(merge.split(" ")): rank for rank, merge in enumerate(merges)}
        self.digits = file.field("tokenizer.ggml.pre") == "smollm"
        self.letters = letters()
        self.bos = tokens[file.field("tokenizer.ggml.bos_token_id")]
        self.eos = tokens[file.field("tokenizer.ggml.eos_token_id")]
        self.template = file.field("tokenizer.chat_template")

    def word(self, word):
        parts = [self.letters[byte] for byte in word.encode()]
        while len(parts) > 1:
            pairs = list(zip(parts, parts[1:]))
            best = min(pairs, key=lambda pair: self.ranks.get(pair, len(self.ranks)))
            if best not in self.ranks:
                break
            joined, index = [], 0
            while index < len(parts):
                if tuple(parts[index : index + 2]) == best:
                    joined.append("".join(best))
                    index += 2
                else:
                    joined.append(parts[index])
                    index += 1
            parts = joined
        return [self.ids[part] for part in parts]

    def encode(self, text):
        """Ids of a text, control tokens in it included."""
        pattern = "|".join(regex.escape(token) for token in sorted(self.control, key=len, reverse=True))
        found = []
        for piece in regex.split(f"({pattern})", text):
            if piece in self.control:
                found.append(self.ids[piece])
                continue
            parts = regex.findall(r"\p{N}|[^\p{N}]+", piece) if self.digits else [piece]
            found += [i for part in parts for word in regex.findall(WORDS, part) for i in self.word(word)]
        return found

    def chat(self, messages):
        environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
        template = environment.from_string(self.template)
        return template.render(
            messages=messages, add_generation_prompt=True, bos_token=self.bos, eos_token=self.eos
        )
