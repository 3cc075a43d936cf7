"""A PyTorch twin of `deem bench`: the same networks on the same weights and inputs.

    deem bench train-step --preset tiny --runs 1 --dump DIR      (then the same for ask, generate)
    python tools/bench/twin.py train-step DIR --prove            losses and gradients agree?
    python tools/bench/twin.py train-step DIR --compile          how long does a step take?
    deem bench ops --json > OPS.json; python tools/bench/twin.py ops OPS.json

The networks (tools/bench/twin/) are written for speed as PyTorch users would: channels-last maps, fused
attention, norms and AdamW, gradients for trained parameters only, logits where the loss counts. Prints JSON.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.nn.utils import clip_grad_norm_

sys.path.insert(0, str(Path(__file__).resolve().parent))
from twin.deem import Batch, Deem, Structure  # noqa: E402
from twin.llama import Cache  # noqa: E402
from twin.ops import case  # noqa: E402

TOLERANCE = 1e-3  # relative L2, of every loss term and of every gradient
NEGLIGIBLE = 1e-6  # share of the whole gradient below which a tensor's gradient is rounding noise


def memory(field):
    """Bytes, from the system (Linux)."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def timed(work, warmup, runs):
    """`cpu_seconds` is processor time of all threads: with one thread, hardly disturbed by what else runs."""
    wall, cpu = [], []
    for run in range(warmup + runs):
        start = time.perf_counter(), time.process_time()
        work()
        if run >= warmup:
            wall.append(time.perf_counter() - start[0])
            cpu.append(time.process_time() - start[1])
    return {
        "seconds_median": statistics.median(wall),
        "seconds_fastest": min(wall),
        "cpu_seconds_median": statistics.median(cpu),
        "runs": runs,
    }


class TrainStep:
    """Forward and backward pass, clipping and AdamW, on one batch made beforehand."""

    def __init__(self, folder, options):
        self.step = json.loads((folder / "step.json").read_text())
        self.folder, self.config = folder, self.step["model"]
        layout = torch.channels_last if options.channels_last else torch.contiguous_format
        self.batch = Batch(self.step, load_file(folder / "inputs.safetensors"), self.config, layout)
        self.before = memory("VmRSS:")
        self.model = Deem(self.config)
        self.model.load(load_file(folder / "weights.safetensors"))
        self.model = self.model.to(memory_format=layout)
        group_of = self.step["parameter_groups"]
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name in group_of)
        loss = self.step["stage"]["loss"]
        self.weights = [loss["text"], loss["image"], loss["feedback"]]
        self.losses = self.model.losses
        if options.compile:
            self.losses = torch.compile(self.losses, mode=options.compile_mode)
        self.autocast = torch.autocast("cpu", torch.bfloat16, enabled=options.bf16)

    def loss(self, noise):
        with self.autocast:
            terms = [term.float() for term in self.losses(self.batch, noise)]
        return sum(weight * term for weight, term in zip(self.weights, terms)), terms

    def prove(self):
        total, terms = self.loss(self.batch.noise)
        total.backward()
        result = self.step["result"]
        errors = {}
        for name, term in zip(["text", "image", "feedback"], terms):
            expected = result["terms"][name]
            errors[f"loss/{name}"] = abs(term.item() - expected) / abs(expected)
        expected = load_file(self.folder / "gradients.safetensors")
        found = {name: p.grad for name, p in self.model.named_parameters() if p.grad is not None}
        missing = sorted(set(expected) ^ set(found))
        noise = NEGLIGIBLE * result["gradient_norm"]
        negligible = []
        for name in sorted(set(expected) & set(found)):
            error, norm = (found[name].flatten() - expected[name]).norm().item(), expected[name].norm().item()
            if norm < noise and error < noise:
                negligible.append(name)
            else:
                errors[name] = error / norm
        pairs = [(found[name].flatten().double(), expected[name].double()) for name in set(expected) & set(found)]
        product = sum((a * b).sum() for a, b in pairs)
        squares = [sum((pair[side] ** 2).sum() for pair in pairs) for side in (0, 1)]
        angle = torch.rad2deg(torch.acos((product / (squares[0] * squares[1]).sqrt()).clamp(max=1.0))).item()
        worst = dict(sorted(errors.items(), key=lambda item: -item[1])[:8])
        return {
            "agrees": not missing and max(errors.values()) <= TOLERANCE,
            "compared": len(errors),
            "negligible": len(negligible),
            "only_on_one_side": missing,
            "angle_degrees": angle,
            "worst": worst,
        }

    def time(self, warmup, runs):
        train, group_of = self.step["stage"]["train"], self.step["parameter_groups"]
        constants = train["optimizer"]
        groups = {}
        for name, parameter in self.model.named_parameters():
            if name in group_of:
                group = train["groups"][group_of[name]]
                decay = group["weight_decay"] if parameter.dim() > 1 else 0.0
                groups.setdefault((group["learning_rate"], decay), []).append(parameter)
        trained = [parameter for members in groups.values() for parameter in members]
        optimizer = torch.optim.AdamW(
            [{"params": p, "lr": rate * 0.1, "weight_decay": decay} for (rate, decay), p in groups.items()],
            betas=(constants["beta1"], constants["beta2"]),
            eps=constants["epsilon"],
            fused=True,
        )

        def work():
            noise = [torch.randn_like(noise) for noise in self.batch.noise]
            total, terms = self.loss(noise)
            [term.item() for term in terms]
            total.backward()
            clip_grad_norm_(trained, constants["clip"])
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        report = timed(work, warmup, runs)
        return report | {"memory_before_bytes": self.before, "peak_memory_bytes": memory("VmHWM:")}


def inference(folder, options):
    """Configuration, inputs and model of a dumped `ask` or `generate`."""
    name = {"ask": "ask.json", "generate": "generate.json"}[options.part]
    dumped = json.loads((folder / name).read_text())
    layout = torch.channels_last if options.channels_last else torch.contiguous_format
    model = Deem(dumped["model"])
    model.load(load_file(folder / "weights.safetensors"))
    model = model.to(memory_format=layout).requires_grad_(False).eval()
    return dumped, load_file(folder / "inputs.safetensors"), model


class Ask:
    """Encoder, prefill and greedy decoding with a key-value cache."""

    def __init__(self, folder, options):
        self.before = memory("VmRSS:")
        self.dumped, inputs, self.model = inference(folder, options)
        self.pixels, self.tokens = inputs["pixels"], self.dumped["tokens"]
        self.special = self.dumped["model"]["tokens"]
        self.queries = self.dumped["model"]["image_encoder"]["queries"]

    @torch.inference_mode()
    def answer(self, count):
        model, llama = self.model, self.model.llama
        structure = Structure(self.tokens, 1, self.special, self.queries)
        embeddings, _, pyramid = model.image_encoder(self.pixels)
        look = model.look(structure, pyramid)
        caches = [Cache(structure.seq + count) for _ in llama.model.layers]
        x, positions, relative = model.embed(structure, embeddings), structure.positions, structure.relative
        written = []
        while True:
            logits = model.logits(llama(x, positions, look, relative, caches)[:, -1])
            logits[:, self.special["eos"]] = -torch.inf
            written.append(logits.argmax().item())
            if len(written) == count:
                return written
            x = llama.embed(torch.tensor([[written[-1]]]))
            positions, relative = positions[:, -1:] + 1, relative[:, -1:]

    def prove(self):
        expected = self.dumped["answer"]
        found = self.answer(len(expected))
        return {"agrees": found == expected, "compared": len(expected)}

    def time(self, warmup, runs):
        first = timed(lambda: self.answer(1), warmup, runs)
        report = timed(lambda: self.answer(len(self.dumped["answer"])), warmup, runs)
        for kind in ["seconds", "cpu_seconds"]:
            report[f"{kind}_to_first_token"] = first[f"{kind}_median"]
        return report | {"memory_before_bytes": self.before, "peak_memory_bytes": memory("VmHWM:")}


class Generate:
    """Context, guided DPM-Solver++ steps and decoding of one image."""

    def __init__(self, folder, options):
        self.before = memory("VmRSS:")
        self.dumped, inputs, self.model = inference(folder, options)
        self.noise = inputs["noise"].permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        self.folder = folder
        self.unet = torch.compile(self.model.unet) if options.compile else self.model.unet

    @torch.inference_mode()
    def draw(self):
        from diffusers import DPMSolverMultistepScheduler

        model, config = self.model, self.dumped["model"]
        structure = Structure(self.dumped["tokens"], 1, config["tokens"], config["image_encoder"]["queries"])
        nothing = [None] * len(model.llama.model.layers)
        x = model.embed(structure, None)
        hidden = model.llama(x, structure.positions, nothing, structure.relative)
        rows, real = structure.contexts([(0, structure.seq - 1)])
        condition = model.image_decoder(hidden.flatten(0, 1)[rows], real, torch.ones(1, 1, 1))
        both = torch.cat([model.image_decoder.null_condition[None], condition])
        noise = {key: value for key, value in config["scheduler"].items() if value is not None}
        scheduler = DPMSolverMultistepScheduler(**noise, steps_offset=1)
        scheduler.set_timesteps(self.dumped["steps"])
        sample = self.noise
        for timestep in scheduler.timesteps:
            predicted = self.unet(sample.expand(2, -1, -1, -1), timestep.expand(2), both)
            plain, conditional = predicted.chunk(2)
            guided = plain + self.dumped["guidance"] * (conditional - plain)
            sample = scheduler.step(guided, timestep, sample).prev_sample
        return model.autoencoder.decode(sample)

    def prove(self):
        expected = load_file(self.folder / "outputs.safetensors")["pixels"]
        error = ((self.draw() - expected).norm() / expected.norm()).item()
        return {"agrees": error <= TOLERANCE, "error": error}

    def time(self, warmup, runs):
        report = timed(self.draw, warmup, runs)
        return report | {"memory_before_bytes": self.before, "peak_memory_bytes": memory("VmHWM:")}


class Ops:
    """Each operation that `deem bench ops --json` printed into a file."""

    def __init__(self, file, options):
        self.ops = json.loads(file.read_text())["ops"]

    def time(self, warmup, runs):
        measured = []
        for op in self.ops:
            figures = {"op": op["op"], "dims": op["dims"]}
            for kind, work in zip(["forward", "both"], case(op["op"], op["dims"])):
                work()
                runs_of_op = max(runs, int(0.4 / timed(work, 0, 1)["seconds_median"]))
                report = timed(work, 1, min(runs_of_op, 1000))
                figures[f"{kind}_seconds"] = report["seconds_median"]
                figures[f"{kind}_cpu_seconds"] = report["cpu_seconds_median"]
            measured.append(figures)
        return {"ops": measured}


PARTS = {"train-step": TrainStep, "ask": Ask, "generate": Generate, "ops": Ops}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("folder", type=Path, help="what `deem bench PART --dump` wrote")
    parser.add_argument("--prove", action="store_true", help="compare results instead of timing")
    parser.add_argument("--compile", action="store_true", help="torch.compile")
    parser.add_argument("--compile-mode", default=None)
    parser.add_argument("--bf16", action="store_true", help="train-step: autocast to bfloat16")
    parser.add_argument("--channels-last", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    bench = PARTS[options.part](options.folder, options)
    report = bench.prove() if options.prove else bench.time(options.warmup, options.runs)
    print(json.dumps({"bench": options.part, "threads": options.threads, "torch": torch.__version__} | report))
    sys.exit(0 if report.get("agrees", True) else 1)


if __name__ == "__main__":
    main()
