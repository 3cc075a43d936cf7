"""Writes golden files: a module's weights, inputs, outputs and gradients, computed in f64.

A file NAME.safetensors holds `weight.KEY`, `input.NAME`, `output.NAME` and `grad.NAME`, where
`grad.` is followed by an input's name or a weight's key; NAME.json holds the configuration and
`loss`, the outputs of which the gradient is taken: the sum of mean(output ** 2) / 2.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

GOLDEN = Path(__file__).resolve().parents[2] / "crates" / "model" / "tests" / "golden"
LIMIT = 300_000  # bytes per file


def generator(seed):
    return torch.Generator().manual_seed(seed)


def normal(gen, *shape, std=1.0):
    """Draws that are exact in f32, as f64."""
    return (torch.randn(*shape, generator=gen) * std).double()


def randomize(module, seed):
    """Fills every parameter so that no term of the computation is invisible."""
    gen = generator(seed)
    module.double().eval()
    for name, parameter in module.named_parameters():
        shape = parameter.shape
        if parameter.dim() < 2:
            centre = 1.0 if name.endswith(("weight", "gamma")) else 0.0
            value = centre + normal(gen, *shape, std=0.3)
        elif "embed" in name or "relpos" in name:
            value = normal(gen, *shape, std=0.5)
        else:
            fan_in = parameter[0].numel()
            value = normal(gen, *shape, std=1.2 / fan_in**0.5)
        parameter.data = value.float().double()
    return module


def write(path, tensors, description):
    """Writes PATH.safetensors (floats in single precision) and PATH.json; returns the bytes of the former."""
    tensors = {
        k: (v.detach().float() if v.is_floating_point() else v.detach().long()).contiguous().clone()
        for k, v in tensors.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.with_suffix(".safetensors")
    save_file(tensors, file)
    path.with_suffix(".json").write_text(json.dumps(description, indent=1) + "\n")
    return file.stat().st_size


def export(name, config, weights, inputs, outputs, loss, grads):
    """`weights`: key -> tensor; `grads`: keys of the weights whose gradient is kept."""
    total = sum(outputs[key].square().mean() / 2 for key in loss)
    wanted = {key: t for key, t in inputs.items() if t.is_floating_point() and t.requires_grad}
    wanted |= {key: weights[key] for key in grads}
    gradients = torch.autograd.grad(total, list(wanted.values()))
    tensors = {f"weight.{k}": v for k, v in weights.items()}
    tensors |= {f"input.{k}": v for k, v in inputs.items()}
    tensors |= {f"output.{k}": v for k, v in outputs.items()}
    tensors |= {f"grad.{k}": g for k, g in zip(wanted, gradients)}
    size = write(GOLDEN / name, tensors, {"config": config, "loss": loss})
    assert size < LIMIT, f"{name}: {size} bytes"
    print(f"{name}: {len(tensors)} tensors, {size} bytes")


def parameters(module):
    return dict(module.named_parameters())
