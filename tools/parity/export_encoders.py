"""Golden folders of encoders of pictures and texts: crates/engine/tests/golden/encoders/NAME, very small random models as
transformers and open_clip publish them, and expected.json, what the public class makes of pictures and texts.

    python tools/parity/export_encoders.py            # writes the golden folders
    python tools/parity/export_encoders.py --check DIR # compares folders that deem saved (DIR/NAME) with the golden ones

`--check` loads DIR/NAME with the public package, unchanged code, and wants every tensor bit for bit what it was, and every
embedding within 1e-5.

| folder | layout |
|---|---|
| metaclip | transformers CLIPModel as MetaCLIP publishes it: quick_gelu, old end-of-text convention, half precision |
| siglip | transformers SiglipModel, sentencepiece's model without tokenizer.json |
| siglip2 | transformers SiglipModel as SigLIP 2 of fixed resolution: Gemma's tokenizer, bilinear pictures |
| open_clip_vit | open_clip CLIP |
| open_clip_convnext | open_clip CustomTextCLIP with timm's ConvNeXt and an MLP projection |
| open_clip_siglip | open_clip CustomTextCLIP with timm's ViT, both towers as SigLIP's |
"""

import argparse
import io
import json
import shutil
from pathlib import Path
from unittest import mock

import open_clip
import sentencepiece
import timm
import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

OUTPUT = Path(__file__).resolve().parents[2] / "crates/engine/tests/golden/encoders"
SIDE = 32
TEXTS = ["a photo of a cat", "A photo of a DOG!", "two red-ish cats, one blue_dog", "dog", "a cat and a dog and a cat and a dog and a cat"]
CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
HALF = [0.5] * 3
CORPUS = [
    "a photo of a cat", "a photo of a dog", "two red cats and one blue dog", "the cat is on a red mat", "a dog and a cat",
    "a close photo of the blue cat", "one photo of many dogs", "red and blue and green", "it is a dog on a mat",
] * 20


def picture():
    """[3, SIDE, SIDE] in [0, 1]; the test draws the same."""
    values = [[[(7 * x + 13 * y + 60 * c) % 256 for x in range(SIDE)] for y in range(SIDE)] for c in range(3)]
    return torch.tensor(values, dtype=torch.float32) / 255


def normalised(mean, std):
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (mean, std))
    return ((picture() - mean) / std)[None]


def randomize(model, seed):
    """Weights of ordinary size, also where the class starts with zeros or ones."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name == "logit_scale":
                parameter.fill_(2.5)
            elif name == "logit_bias":
                parameter.fill_(-4.25)
            elif parameter.ndim < 2:
                parameter.add_(torch.randn_like(parameter) * 0.2)
            else:
                fan_in = 4 if "embed" in name or "probe" in name or "latent" in name else parameter[0].numel()
                parameter.copy_(torch.randn_like(parameter) / fan_in**0.5)
    return model.eval()


def clip_tokenizer(folder):
    """Words between CLIP's marks."""
    words = "<unk> a photo of cat dog two red ish cats one blue dog and".split()
    words = list(dict.fromkeys(words)) + ["<|startoftext|>", "<|endoftext|>"]
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation()])
    made.add_special_tokens(words[-2:])
    made.save(str(folder / "tokenizer.json"))
    return made


def clip_ids(made, longest, fill):
    start, end = made.token_to_id("<|startoftext|>"), made.token_to_id("<|endoftext|>")
    rows = [[start, *made.encode(text, add_special_tokens=False).ids[: longest - 2], end] for text in TEXTS]
    return torch.tensor([row + [fill] * (longest - len(row)) for row in rows]), end


def canonical(text):
    """big_vision's text of SigLIP: lower case, no punctuation, single spaces."""
    kept = "".join(" " if c.isspace() else c for c in text.lower() if c not in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
    return " ".join(kept.split())


def siglip_pieces(folder):
    """A sentencepiece model with the ids of c4_en's: 0 <pad>, 1 </s>, 2 <unk>."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_writer=model, vocab_size=60, model_type="unigram",
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, pad_piece="<pad>", eos_piece="</s>", hard_vocab_limit=False,
    )
    (folder / "spiece.model").write_bytes(model.getvalue())
    config = {"tokenizer_class": "SiglipTokenizer", "pad_token": "</s>", "eos_token": "</s>", "model_max_length": 64}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def gemma_tokenizer(folder):
    """Byte pairs as Gemma's: spaces are ▁, ids 0 <pad>, 1 <eos>, 2 <bos>, 3 <unk>."""
    words = "a photo of cat dog two red ish cats one blue and".split()
    vocabulary = ["<pad>", "<eos>", "<bos>", "<unk>"]
    merges = []
    for word in ["▁" + word for word in words] + words:
        vocabulary += list(word)
        for end in range(2, len(word) + 1):
            merges.append((word[: end - 1], word[end - 1]))
            vocabulary.append(word[:end])
    vocabulary = list(dict.fromkeys(vocabulary))
    made = Tokenizer(models.BPE({p: i for i, p in enumerate(vocabulary)}, list(dict.fromkeys(merges)), unk_token="<unk>", fuse_unk=True))
    made.normalizer = normalizers.Replace(" ", "▁")
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    made.add_special_tokens([AddedToken(mark, normalized=False, special=True) for mark in vocabulary[:4]])
    made.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "GemmaTokenizer", "pad_token": "<pad>", "eos_token": "<eos>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    return made


def padded(rows, longest, end, fill):
    rows = [[*row[: longest - 1], end] for row in rows]
    return torch.tensor([row + [fill] * (longest - len(row)) for row in rows])


def transformers_expected(model, pixels, ids):
    with torch.no_grad():
        out = model.float()(input_ids=ids, pixel_values=pixels)
    return expected(out.image_embeds, out.text_embeds, out.logits_per_image, ids)


def open_clip_expected(model, pixels, ids):
    with torch.no_grad():
        image = model.encode_image(pixels, normalize=True)
        text = model.encode_text(ids, normalize=True)
        logits = model.logit_scale.exp() * image @ text.T
        logits = logits if model.logit_bias is None else logits + model.logit_bias
    return expected(image, text, logits, ids)


def expected(image, text, logits, ids):
    return {"texts": TEXTS, "ids": ids.tolist(), "image": image[0].tolist(), "text": text.tolist(), "logits": logits[0].tolist()}


def preprocessor(folder, kind, **fields):
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": kind, **fields}, indent=1) + "\n")


def metaclip(folder):
    made = clip_tokenizer(folder)
    ids, end = clip_ids(made, 16, 0)
    text = dict(vocab_size=made.get_vocab_size(), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
                max_position_embeddings=16, bos_token_id=0, eos_token_id=2, hidden_act="quick_gelu")
    vision = dict(hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, image_size=SIDE, patch_size=8,
                  hidden_act="quick_gelu")
    model = randomize(CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)), 1)
    model.half().save_pretrained(folder)
    preprocessor(folder, "CLIPImageProcessor", size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, do_center_crop=True,
                 image_mean=CLIP_MEAN, image_std=CLIP_STD, resample=3)
    return metaclip_run(folder, ids)


def metaclip_run(folder, ids):
    return transformers_expected(CLIPModel.from_pretrained(folder), normalised(CLIP_MEAN, CLIP_STD), ids)


def siglip_model(folder, vocabulary, seed):
    text = dict(vocab_size=vocabulary, hidden_size=24, intermediate_size=36, num_hidden_layers=2, num_attention_heads=2,
                max_position_embeddings=16, projection_size=24)
    vision = dict(hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3, image_size=SIDE, patch_size=8)
    model = randomize(SiglipModel(SiglipConfig(text_config=text, vision_config=vision)), seed)
    model.save_pretrained(folder)


def siglip(folder):
    pieces = siglip_pieces(folder)
    siglip_model(folder, pieces.get_piece_size(), 2)
    preprocessor(folder, "SiglipImageProcessor", size={"height": SIDE, "width": SIDE}, image_mean=HALF, image_std=HALF, resample=3)
    return siglip_run(folder, padded([pieces.encode(canonical(text)) for text in TEXTS], 16, 1, 1))


def siglip2(folder):
    made = gemma_tokenizer(folder)
    siglip_model(folder, made.get_vocab_size(), 3)
    preprocessor(folder, "SiglipImageProcessor", size={"height": SIDE, "width": SIDE}, image_mean=HALF, image_std=HALF, resample=2)
    rows = [made.encode(text.lower(), add_special_tokens=False).ids for text in TEXTS]
    return siglip_run(folder, padded(rows, 16, 1, 0))


def siglip_run(folder, ids):
    return transformers_expected(SiglipModel.from_pretrained(folder), normalised(HALF, HALF), ids)


TIMM = {
    "convnext_base": dict(depths=(1, 1, 2, 1), dims=(8, 12, 16, 20)),
    "vit_base_patch16_siglip_224": dict(img_size=SIDE, patch_size=8, embed_dim=24, depth=2),
}


def small_timm():
    """timm's networks under their names, made small."""
    create = timm.create_model
    return mock.patch.object(timm, "create_model", lambda name, **fields: create(name, **TIMM.get(name, {}), **fields))


def open_clip_model(config, custom_text):
    with small_timm():
        fields = {key: value for key, value in config.items() if key != "custom_text"}
        return (open_clip.CustomTextCLIP if custom_text else open_clip.CLIP)(**fields)


def open_clip_folder(folder, config, custom_text, preprocess, seed):
    model = randomize(open_clip_model(config, custom_text), seed)
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / "open_clip_model.safetensors", metadata={"format": "pt"})
    description = {"model_cfg": config, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(description, indent=1) + "\n")


def open_clip_run(folder, ids):
    description = json.loads((folder / "open_clip_config.json").read_text())
    config, preprocess = description["model_cfg"], description["preprocess_cfg"]
    tensors = load_file(folder / "open_clip_model.safetensors")
    model = open_clip_model(config, "text.token_embedding.weight" in tensors).eval()
    model.load_state_dict(tensors)
    return open_clip_expected(model, normalised(preprocess["mean"], preprocess["std"]), ids)


CLIP_PREPROCESS = {"mean": CLIP_MEAN, "std": CLIP_STD, "interpolation": "bicubic", "resize_mode": "shortest"}


def open_clip_vit(folder):
    made = clip_tokenizer(folder)
    config = {
        "embed_dim": 12, "quick_gelu": True,
        "vision_cfg": {"image_size": SIDE, "layers": 2, "width": 24, "head_width": 8, "patch_size": 8},
        "text_cfg": {"context_length": 16, "vocab_size": made.get_vocab_size(), "width": 16, "heads": 2, "layers": 2},
    }
    open_clip_folder(folder, config, False, CLIP_PREPROCESS, 4)
    return open_clip_run(folder, clip_ids(made, 16, 0)[0])


def open_clip_convnext(folder):
    made = clip_tokenizer(folder)
    ids, end = clip_ids(made, 16, 0)
    config = {
        "embed_dim": 12, "custom_text": True,
        "vision_cfg": {"timm_model_name": "convnext_base", "timm_model_pretrained": False, "timm_pool": "", "timm_proj": "mlp",
                       "timm_drop": 0.0, "timm_drop_path": 0.1, "image_size": SIDE},
        "text_cfg": {"context_length": 16, "vocab_size": made.get_vocab_size(), "width": 16, "heads": 2, "layers": 2,
                     "pool_type": "eos", "eos_id": end},
    }
    open_clip_folder(folder, config, True, CLIP_PREPROCESS, 5)
    return open_clip_run(folder, ids)


def open_clip_siglip(folder):
    made = gemma_tokenizer(folder)
    config = {
        "embed_dim": 24, "init_logit_bias": -10, "custom_text": True,
        "vision_cfg": {"image_size": SIDE, "timm_model_name": "vit_base_patch16_siglip_224", "timm_model_pretrained": False,
                       "timm_pool": "map", "timm_proj": "none"},
        "text_cfg": {"context_length": 16, "vocab_size": made.get_vocab_size(), "hf_tokenizer_name": "timm/ViT-B-16-SigLIP2",
                     "tokenizer_kwargs": {"clean": "canonicalize"}, "width": 24, "heads": 2, "layers": 2, "mlp_ratio": 1.7,
                     "no_causal_mask": True, "proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6},
                     "act_kwargs": {"approximate": "tanh"}},
    }
    preprocess = {"mean": HALF, "std": HALF, "interpolation": "bicubic", "resize_mode": "squash"}
    open_clip_folder(folder, config, True, preprocess, 6)
    clean = open_clip.tokenizer.canonicalize_text
    rows = [made.encode(clean(text), add_special_tokens=False).ids for text in TEXTS]
    return open_clip_run(folder, padded(rows, 16, 1, 0))


RUNS = {
    "metaclip": (metaclip, metaclip_run),
    "siglip": (siglip, siglip_run),
    "siglip2": (siglip2, siglip_run),
    "open_clip_vit": (open_clip_vit, open_clip_run),
    "open_clip_convnext": (open_clip_convnext, open_clip_run),
    "open_clip_siglip": (open_clip_siglip, open_clip_run),
}


def export():
    for name, (make, _) in RUNS.items():
        folder = OUTPUT / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        values = make(folder)
        (folder / "expected.json").write_text(json.dumps(values) + "\n")
        size = sum(file.stat().st_size for file in folder.iterdir())
        print(f"{name}: {size} bytes, logits {[round(x, 3) for x in values['logits']]}")


def check(saved):
    for name, (_, run) in RUNS.items():
        golden, folder = OUTPUT / name, saved / name
        [weights] = [file.name for file in golden.glob("*.safetensors")]
        before, after = load_file(golden / weights), load_file(folder / weights)
        assert before.keys() == after.keys(), f"{name}: keys {before.keys() ^ after.keys()}"
        for key, tensor in before.items():
            same = tensor.dtype == after[key].dtype and torch.equal(tensor, after[key])
            assert same, f"{name}: {key} is another tensor"
        wanted = json.loads((golden / "expected.json").read_text())
        found = run(folder, torch.tensor(wanted["ids"]))
        worst = max(
            abs(a - b) for part in ("image", "text") for a, b in zip(torch.tensor(found[part]).flatten(), torch.tensor(wanted[part]).flatten())
        )
        assert worst < 1e-5, f"{name}: {worst}"
        print(f"{name}: {len(after)} tensors bit for bit, embeddings within {worst:.1e}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", type=Path, metavar="DIR", help="folder of folders that deem saved")
    arguments = parser.parse_args()
    check(arguments.check) if arguments.check else export()
