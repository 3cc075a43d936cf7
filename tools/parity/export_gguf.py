"""Golden GGUF files, written by the `gguf` package, with what it reads back from them.

    python tools/parity/export_gguf.py

`gguf_encodings`: a tensor of every encoding that deem reads. What the package can quantise is quantised; of the others
the blocks are random bytes with scales of ordinary size. `gguf_llama`: a whole small model with tokenizer and chat
template, its logits from transformers, and token ids from a byte-pair encoder written for the purpose.
"""

import json

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Type
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

from golden import GOLDEN, randomize
from gguf_reference import NAMES, Gguf

# Places of the half-precision scales in a block, for encodings that the package only reads.
SCALES = {
    Type.Q2_K: [80, 82],
    Type.Q3_K: [108],
    Type.Q4_K: [0, 2],
    Type.Q5_K: [0, 2],
    Type.Q6_K: [208],
    Type.IQ4_NL: [0],
    Type.IQ4_XS: [0],
}
QUANTISED = [Type.F16, Type.BF16, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0]


def encodings():
    generator = np.random.default_rng(7)
    path = GOLDEN / "gguf_encodings.gguf"
    writer = gguf.GGUFWriter(path, "none")
    writer.add_uint32("none.count", 3)
    writer.add_array("none.words", ["one", "zwei", "三"])
    writer.add_tensor("F32", generator.standard_normal((2, 3), dtype=np.float32))
    writer.add_tensor("F64", generator.standard_normal((3, 1)))
    for kind in QUANTISED:
        numbers = generator.standard_normal((2, 64), dtype=np.float32)
        writer.add_tensor(kind.name, gguf.quantize(numbers, kind), raw_dtype=kind)
    for kind, scales in SCALES.items():
        values, size = gguf.GGML_QUANT_SIZES[kind]
        blocks = generator.integers(0, 256, (2, 2, size), dtype=np.uint8)
        for at in scales:
            scale = generator.uniform(-0.1, 0.1, (2, 2, 1)).astype(np.float16)
            blocks[..., at : at + 2] = scale.view(np.uint8)
        writer.add_tensor(kind.name, blocks.reshape(2, 2 * size), raw_dtype=kind)
    finish(writer)
    tensors = {name: torch.from_numpy(np.array(n, np.float32)) for name, n in Gguf(path).tensors().items()}
    save_file(tensors, path.with_suffix(".safetensors"))
    print(path.name, path.stat().st_size, "bytes,", len(tensors), "tensors")


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CORPUS = [
    "the cat saw the other cats and then the cats saw the cat in 2024",
    "You are a helpful assistant. user assistant system that's what they'll say, isn't it?",
]
TEXTS = [
    "the cats saw that cat",
    "  spaces   and\n\nlines\t",
    "In 2024, 1234567 cats weren't 3.14 or ½; they'll say: 'tis!",
    "Grüße, 世界! 🐈‍⬛ naïve café",
    "",
    " ",
    "user assistant<|im_end|>system",
]
TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MESSAGES = [
    {"role": "user", "content": "Is the cat there?"},
    {"role": "assistant", "content": "It is."},
    {"role": "user", "content": "What did they say in 2024?"},
]
# Encodings of the model's tensors; the rest is F32.
LAYER = {
    "attn_q": Type.Q4_1,
    "attn_k": Type.F16,
    "attn_v": Type.Q5_0,
    "attn_output": Type.Q5_1,
    "ffn_gate": Type.Q4_0,
    "ffn_up": Type.BF16,
    "ffn_down": Type.Q8_0,
}


def vocabulary():
    """Tokens and merges of a small byte-level encoder."""
    tokenizer = Tokenizer(models.BPE())
    level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), level])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=288, special_tokens=CONTROL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    return tokens, [" ".join(merge) for merge in model["merges"]]


def interleaved(rows, heads):
    """Rotated pairs side by side, as llama.cpp's converter leaves them."""
    count, columns = rows.shape
    return rows.reshape(heads, 2, count // heads // 2, columns).swapaxes(1, 2).reshape(count, columns)


def llama():
    tokens, merges = vocabulary()
    heads, kv_heads = 4, 2
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokens),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            tie_word_embeddings=True,
        )
    )
    weights = {key: value.float().numpy() for key, value in randomize(model, 5).state_dict().items()}

    path = GOLDEN / "gguf_llama.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("golden")
    writer.add_context_length(512)
    writer.add_embedding_length(32)
    writer.add_block_count(2)
    writer.add_feed_forward_length(64)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(50_000.0)
    writer.add_rope_dimension_count(8)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in CONTROL else 1 for token in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)

    def add(name, numbers, kind=Type.F32):
        writer.add_tensor(name, gguf.quantize(numbers, kind), raw_dtype=kind)

    add("token_embd.weight", weights["model.embed_tokens.weight"], Type.Q8_0)
    add("output_norm.weight", weights["model.norm.weight"])
    for layer in range(2):
        for part, key in NAMES.items():
            numbers = weights.get(f"model.layers.{layer}.{key}.weight")
            if numbers is None:
                continue
            count = {"attn_q": heads, "attn_k": kv_heads}.get(part)
            numbers = interleaved(numbers, count) if count else numbers
            add(f"blk.{layer}.{part}.weight", numbers, LAYER.get(part, Type.F32))
    finish(writer)

    file = Gguf(path)
    encoder = file.encoder()
    texts = [{"text": text, "ids": encoder.encode(text)} for text in TEXTS]
    chat = encoder.chat(MESSAGES)
    ids = encoder.encode(chat)
    with torch.no_grad():
        logits = file.model()(input_ids=torch.tensor([ids])).logits
    description = {
        "config": file.config(),
        "texts": texts,
        "messages": MESSAGES,
        "chat": {"text": chat, "ids": ids},
    }
    save_file({"input_ids": torch.tensor([ids]), "logits": logits}, path.with_suffix(".safetensors"))
    path.with_suffix(".json").write_text(json.dumps(description, indent=1, ensure_ascii=False) + "\n")
    print(path.name, path.stat().st_size, "bytes,", len(ids), "tokens")


if __name__ == "__main__":
    encodings()
    llama()
