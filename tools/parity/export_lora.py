"""Golden files of low-rank adapters: crates/model/tests/golden/lora, a tiny CLIP image tower, adapters of two ranks on
it as PEFT saves them, what the adapted tower makes of pictures, its gradients and its merged weights, all in f64.

    python tools/parity/export_lora.py

The other direction: `DEEM_LORA_FOLDER=folder cargo test -p deem-model lora` leaves adapters that deem wrote in
`folder`; `python tools/parity/export_lora.py --check folder` has PEFT read them, and compares their tensors and what
the tower makes of the pictures with the golden file.
"""

import argparse
import json
from pathlib import Path

import torch
from golden import GOLDEN, generator, normal, randomize, write
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

FOLDER = GOLDEN / "lora"
CONFIG = {
    "hidden_size": 12, "intermediate_size": 20, "projection_dim": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
    "image_size": 16, "patch_size": 8, "hidden_act": "quick_gelu",
}


def tower():
    return randomize(CLIPVisionModelWithProjection(CLIPVisionConfig(**CONFIG)), 3)


def check(folder):
    golden = load_file(FOLDER / "golden.safetensors")
    adapted = PeftModel.from_pretrained(tower(), folder).double().eval()
    with torch.no_grad():
        found = adapted(golden["input.pixel_values"].double()).image_embeds
    expected = golden["output.image_embeds"].double()
    error = ((found - expected).norm() / expected.norm()).item()
    ours, theirs = load_file(Path(folder) / "adapter_model.safetensors"), load_file(FOLDER / "adapter_model.safetensors")
    assert ours.keys() == theirs.keys(), ours.keys() ^ theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert error < 1e-6, error
    print(f"PEFT reads {folder}: {len(ours)} tensors, relative error {error:.1e}")


def main():
    base = tower()
    weights = {f"weight.{key}": value.clone() for key, value in base.state_dict().items() if "position_ids" not in key}
    layers = [name for name, module in base.named_modules() if isinstance(module, torch.nn.Linear)]
    target = [name for name in layers if name.endswith(("q_proj", "v_proj", "fc1", "visual_projection"))]
    wide = [name for name in target if name.endswith("fc1")]
    config = LoraConfig(
        r=2, lora_alpha=6, lora_dropout=0.25, target_modules=target, bias="none",
        rank_pattern={name: 3 for name in wide}, alpha_pattern={name: 12 for name in wide},
    )
    adapted = get_peft_model(base, config)
    gen = generator(11)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            parameter.data = normal(gen, *parameter.shape, std=0.3).float().double()
    adapted.double().eval()
    FOLDER.mkdir(parents=True, exist_ok=True)
    adapted.float().save_pretrained(FOLDER)
    adapted.double()
    (FOLDER / "README.md").unlink(missing_ok=True)
    pixels = normal(gen, 2, 3, 16, 16)
    out = adapted(pixels)
    factors = {name: p for name, p in adapted.named_parameters() if p.requires_grad}
    loss = out.image_embeds.square().mean() / 2
    gradients = dict(zip(factors, torch.autograd.grad(loss, list(factors.values()))))
    rename = lambda key: key.removeprefix("base_model.model.").replace(".default", "")
    tensors = weights | {"input.pixel_values": pixels, "output.image_embeds": out.image_embeds}
    tensors |= {f"grad.{rename(key)}": value for key, value in gradients.items()}
    merged = adapted.merge_and_unload()
    tensors |= {f"merged.{name}.weight": merged.get_submodule(name).weight for name in target}
    size = write(FOLDER / "golden", tensors, {"config": CONFIG, "target": target})
    config = json.loads((FOLDER / "adapter_config.json").read_text())
    (FOLDER / "adapter_config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    print(f"{len(tensors)} tensors, {size} bytes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", metavar="FOLDER")
    chosen = parser.parse_args()
    check(chosen.check) if chosen.check else main()
