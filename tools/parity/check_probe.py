"""Compares `deem probe` with the public classes at random configurations.

    python tools/parity/check_probe.py [--seed 7] [--count 20] [--component NAME] [--deem target/release/deem]

For each seed it draws a configuration of each class (see cases/), random weights and inputs, runs the public class
and `deem probe --grad`, and keeps the relative L2 error of outputs and input gradients. It prints the worst error of
each component and every seed that breaks a bound (1e-4 forward, 1e-3 gradient), and ends with status 1 if any does.

The references of deem's own components compute in double precision. With `--single` they run once more in single
precision, and the distance between the two is printed, too: what rounding alone does to such a configuration.
With `--stored f16` or `bf16` weights are rounded to that type for the reference, and stored in it for deem.

With `--precision bf16` deem computes in bf16, and so does the reference once more: the worst errors of both are
printed, relative to the reference in 32 or 64 bits. A seed breaks the bound if deem's forward error is more than twice
that of the reference in bf16, and more than 0.05 (0.1 where the reference does not run in bf16). Gradients have no
bound: those by sampling coordinates jump where rounding moves a sample across the border of a cell.
"""

import argparse
import json
import math
import random
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from cases import COMPONENTS

FORWARD, GRADIENT = 1e-4, 1e-3
STORED = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def relative(found, expected):
    if found.shape != expected.shape:
        return math.inf
    error = ((found - expected).norm() / expected.norm().clamp_min(1e-12)).item()
    return error if math.isfinite(error) else math.inf


def stored(tensors, dtype=torch.float32):
    """Tensors as files hold them."""
    plain = {key: value.detach().contiguous().clone() for key, value in tensors.items()}
    return {key: value.to(dtype) if value.is_floating_point() else value for key, value in plain.items()}


@torch.no_grad()
def randomize(module, dtype):
    """Weights of ordinary size everywhere, also where the class starts with zeros or ones."""
    for parameter in module.parameters():
        if parameter.dim() < 2:
            parameter.add_(torch.randn_like(parameter) * 0.2)
        else:
            fan_in = parameter[0].numel()
            parameter.copy_(torch.randn_like(parameter) / fan_in**0.5)
    for tensor in module.state_dict().values():  # the reference has the weights of the file
        if tensor.is_floating_point():
            tensor.copy_(tensor.to(dtype))


def evaluate(inputs, run):
    """Outputs, and the gradients of the first one by the names of the float inputs."""
    for tensor in inputs.values():
        tensor.requires_grad_(tensor.is_floating_point())
    outputs = run(**inputs)
    first = next(iter(outputs.values()))
    if any(tensor.requires_grad for tensor in inputs.values()) and first.requires_grad:
        (first.square().mean() / 2).backward()
    return outputs, {key: tensor.grad for key, tensor in inputs.items() if tensor.grad is not None}


def rounding(component, seed, weights, outputs, gradients):
    """Errors of a double-precision reference that is built and computes in single precision instead."""
    double = torch.Tensor.double
    torch.Tensor.double = torch.Tensor.float
    try:
        torch.manual_seed(seed)
        _, model, inputs, run = COMPONENTS[component](random.Random(seed))
        for parameter, weight in zip(model.parameters(), weights):
            parameter.data = weight.data.float()
        again = evaluate(inputs, run)
    finally:
        torch.Tensor.double = double
    pairs = zip(again, (outputs, gradients))
    return [max((relative(a[key].double(), b[key]) for key in b), default=0.0) for a, b in pairs]


def narrowed(component, seed, weights, outputs, gradients):
    """Errors of a reference that computes in bf16 throughout; zero if it cannot."""
    double = torch.Tensor.double
    torch.Tensor.double = torch.Tensor.float
    try:
        torch.manual_seed(seed)
        _, model, inputs, run = COMPONENTS[component](random.Random(seed))
        if model is not None:
            model.eval()
            for parameter, weight in zip(model.parameters(), weights):
                parameter.data = weight.data.float()
            model.bfloat16()
        for tensor in inputs.values():
            if tensor.is_floating_point():
                tensor.data = tensor.data.bfloat16()
        again = evaluate(inputs, run)
    except (RuntimeError, ValueError, TypeError):
        return [0.0, 0.0]
    finally:
        torch.Tensor.double = double
    pairs = zip(again, (outputs, gradients))
    return [max((relative(a[key].double(), b[key].double()) for key in b), default=0.0) for a, b in pairs]


def check(deem, component, seed, folder, alone, dtype, precision):
    torch.manual_seed(seed)
    config, model, inputs, run = COMPONENTS[component](random.Random(seed))
    if model is not None:
        model.eval()
        randomize(model, dtype)
    expected, slopes = evaluate(inputs, run)
    names = ["inputs", "outputs"] + ["weights"] * (model is not None)
    paths = {name: folder / f"{name}.safetensors" for name in names}
    if model is not None:
        save_file(stored(model.state_dict(), dtype), paths["weights"])
    save_file(stored(inputs), paths["inputs"])
    (folder / "config.json").write_text(json.dumps(config, default=str))
    command = [deem, "probe", component, "--config", folder / "config.json", "--grad"]
    command += ["--precision", precision]
    for name, path in paths.items():
        command += [f"--{name}", path]
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(result.stderr.strip())
    found = load_file(paths["outputs"])
    valid = inputs["attention_mask"].bool() if "attention_mask" in inputs and component == "llama" else None
    forward = max(
        relative(found[key][valid] if valid is not None else found[key], value[valid] if valid is not None else value)
        for key, value in expected.items()
    )
    gradient = max((relative(found[f"grad.{key}"], slope) for key, slope in slopes.items()), default=0.0)
    if precision == "bf16":
        return forward, gradient, *narrowed(component, seed, list(model.parameters() if model else []), expected, slopes)
    exact = model is not None and all(parameter.dtype == torch.float64 for parameter in model.parameters())
    if not (alone and exact):
        return forward, gradient, 0.0, 0.0
    return forward, gradient, *rounding(component, seed, list(model.parameters()), expected, slopes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deem", default="target/release/deem")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--component", choices=COMPONENTS)
    parser.add_argument("--single", action="store_true")
    parser.add_argument("--stored", choices=STORED, default="f32")
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    failed, narrow = False, arguments.precision == "bf16"
    for component in [arguments.component] if arguments.component else COMPONENTS:
        worst = [0.0] * 4
        for seed in range(arguments.seed, arguments.seed + arguments.count):
            try:
                with tempfile.TemporaryDirectory() as folder:
                    errors = check(
                        arguments.deem,
                        component,
                        seed,
                        Path(folder),
                        arguments.single,
                        STORED[arguments.stored],
                        arguments.precision,
                    )
            except RuntimeError as error:
                failed = True
                print(f"{component} --seed {seed}: {error}")
                continue
            worst = [max(pair) for pair in zip(worst, errors)]
            if narrow:
                bounds = max(0.05, 2 * errors[2]) if errors[2] else 0.1, math.inf
            else:
                bounds = FORWARD, GRADIENT
            if errors[0] > bounds[0] or errors[1] > bounds[1]:
                failed = True
                print(f"{component} --seed {seed}: forward {errors[0]:.1e}, gradient {errors[1]:.1e}: too far")
        what = "the reference in bf16" if narrow else "single precision alone"
        alone = f"; {what} {worst[2]:.1e}, {worst[3]:.1e}" if worst[2] else ""
        print(f"{component:14} {arguments.count} seeds: forward {worst[0]:.1e}, gradient {worst[1]:.1e}{alone}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
