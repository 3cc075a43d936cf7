"""Golden folder of an encoder of pictures and texts: crates/engine/tests/golden/clip, a very small random CLIP as
transformers publishes it, a tokenizer with CLIP's marks, and what `CLIPModel` makes of a picture and some texts.

    python tools/parity/export_dual_encoder.py
"""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import CLIPConfig, CLIPModel

OUTPUT = Path(__file__).resolve().parents[2] / "crates/engine/tests/golden/clip"
SIDE = 32
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
TEXTS = ["A photo of a cat", "A photo of a dog", "a", "a red cat and a blue dog in a photo of a very long text that is cut at its end"]
LONGEST = 16


def tokenizer():
    words = "<unk> a photo of cat dog red blue and in very long text that is cut at its end".split()
    words += ["<|startoftext|>", "<|endoftext|>"]
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.add_special_tokens(words[-2:])
    made.save(str(OUTPUT / "tokenizer.json"))
    return made


def main():
    torch.manual_seed(7)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    made = tokenizer()
    start, end = made.token_to_id("<|startoftext|>"), made.token_to_id("<|endoftext|>")
    text = {"vocab_size": made.get_vocab_size(), "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
            "max_position_embeddings": LONGEST, "bos_token_id": start, "eos_token_id": end, "pad_token_id": end}
    vision = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": SIDE, "patch_size": 8}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim:
                parameter.normal_(0, 0.3)
    model.save_pretrained(OUTPUT)
    picture = torch.tensor([[[(7 * x + 13 * y + 60 * c) % 256 for x in range(SIDE)] for y in range(SIDE)] for c in range(3)], dtype=torch.float32)
    pixels = ((picture / 255 - MEAN) / STD)[None]
    rows = []
    for words in TEXTS:
        ids = made.encode(words, add_special_tokens=False).ids[: LONGEST - 2]
        rows.append([start, *ids, end])
    longest = max(map(len, rows))
    ids = torch.tensor([row + [end] * (longest - len(row)) for row in rows])
    with torch.no_grad():
        out = model(input_ids=ids, pixel_values=pixels)
        image = out.image_embeds[0]
        texts = out.text_embeds
    expected = {
        "texts": TEXTS, "image": image.tolist(), "text_embeddings": texts.tolist(),
        "logits": out.logits_per_image[0].tolist(), "scale": model.logit_scale.exp().item(),
    }
    (OUTPUT / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    print(expected["logits"])


if __name__ == "__main__":
    main()
