#!/usr/bin/env python3
"""Tries what several processes share with a real mpirun: training (the same run as one process, killed, hung, resumed), the
correction of an encoder, the search for pictures of a RobustVQA, the timing of a step.

    tools/cluster/check.py target/release/deem            # a program built with --features mpi
    tools/cluster/check.py target/release/deem --kills 20
    tools/cluster/check.py target/release/deem --stages 20   # twenty steps of each stage, by one to four processes, and no more

Needs Python 3 alone and an MPI (Debian: openmpi-bin or mpich). Trains a few steps of the built-in experiment.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

STEPS = 6


def of_size(stage, steps, save_every, batch):
    """Options of a run of a stage."""
    return [
        "--stage", stage, "--seed", "3", "--set", f"train.schedule={{steps = {steps}, warmup = 1}}",
        "--set", f"train.save_every={save_every}", "--set", "train.probe_every=0", "--set", f"batch={batch}",
    ]


# Small, of ragged rows, with all three terms of the loss.
STAGE = of_size("stage1", STEPS, 2, 6)
# Long enough to be timed.
TIMED = of_size("stage1", 14, 14, 32)


def command(deem, output, processes, *options):
    return shared(processes, deem, "train", "--output", str(output), *STAGE, *options)


def stages(deem, folder, steps):
    """Each stage by one to four processes, from what one process made of the stage before.

    Stages 2 and 3 with the small rates of large models: with the preset's own, rounding doubles at every step.
    """
    trained = '["llama.*", "image_encoder.resampler.*", "image_encoder.proj_t.*", "soi_token"]'
    slow = ["--set", f"train.groups=[{{patterns = {trained}, learning_rate = 4e-5, weight_decay = 0.01}}]"]
    before = []
    for stage in ("stage1", "stage2", "stage3"):
        size = of_size(stage, steps, steps, 8)
        expected = None
        for processes in (1, 2, 3, 4):
            output = folder / f"{stage}-{processes}"
            told(shared(processes, deem, "train", "--output", str(output), *size, *before))
            found = figures(output / stage)
            assert len(found) == steps, sorted(found)
            expected = expected or found
            if processes > 1:
                compare(f"{stage}, {steps} steps, {processes} processes", expected, found)
        before = [*slow, "--from", str(folder / f"{stage}-1" / stage)]


def shared(processes, *words):
    return list(words) if processes == 1 else [*mpirun(), "-n", str(processes), *words]


def mpirun():
    version = subprocess.run(["mpirun", "--version"], capture_output=True, text=True).stdout
    if "Open MPI" not in version:
        return ["mpirun"]
    # In CI everything is root, and there may be fewer cores than processes.
    root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    return ["mpirun", *root, "--oversubscribe", "--bind-to", "none"]


def environment():
    # One thread each: what is compared are processes.
    return {**os.environ, "RAYON_NUM_THREADS": "1"}


def train(deem, output, processes, *options):
    told(command(deem, output, processes, *options))
    return figures(output / "stage1")


def told(command, **variables):
    """Standard output of a command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, env={**environment(), **variables})
    if done.returncode != 0:
        sys.exit(f"{command} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return done.stdout


def figures(folder):
    """Losses by step."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    kept = {}
    for line in map(json.loads, lines):
        kept[line["step"]] = {k: v for k, v in line.items() if k.startswith("loss")}
    return kept


def medians(folder, *names):
    """Of figures of the last eleven steps; 0 for what a run does not have."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()][-11:]
    return [statistics.median(line.get(name, 0.0) for line in lines) for name in names]


def compare(what, expected, found, tolerance=1e-5):
    assert expected.keys() == found.keys(), f"{what}: steps {sorted(found)} instead of {sorted(expected)}"
    worst = 0.0
    for step, line in expected.items():
        assert line.keys() == found[step].keys(), f"{what}, step {step}: {found[step]}"
        for name, value in line.items():
            worst = max(worst, abs(value - found[step][name]) / max(abs(value), 1e-3))
    assert worst <= tolerance, f"{what}: differs by {worst:.1e}, more than {tolerance:.0e}"
    print(f"ok    {what}: the same losses, to {worst:.1e}", flush=True)


def ranks(mark):
    """Process numbers of the program that were started with a mark: not their launcher's."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            name = Path(os.readlink(entry / "exe")).name
            environ = (entry / "environ").read_bytes()
        except OSError:
            continue
        if not name.startswith(("mpi", "orte", "prte", "hydra")) and f"DEEM_CHECK={mark}".encode() in environ:
            found.append(int(entry.name))
    return found


class Started:
    """A run that goes on while something is done to it."""

    def __init__(self, deem, output, processes, *options):
        self.mark = f"{os.getpid()}-{time.monotonic_ns()}"
        env = {**environment(), "DEEM_CHECK": self.mark}
        self.output = output
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            command(deem, output, processes, *options), env=env, stdout=subprocess.DEVNULL, stderr=self.errors)

    def wait_for(self, ready, seconds=300):
        end = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < end, f"nothing happened for {seconds} s"
            if self.process.poll() is not None:
                return False
            time.sleep(0.02)
        return True

    def steps(self):
        log = self.output / "stage1/metrics.jsonl"
        return len(log.read_text().splitlines()) if log.exists() else 0

    def ranks(self):
        return ranks(self.mark)

    def end(self, seconds):
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            for rank in self.ranks():
                os.kill(rank, signal.SIGKILL)
            self.process.kill()
            raise AssertionError(f"still running after {seconds} s") from None
        self.errors.seek(0)
        return code, self.errors.read()


def killed(deem, folder, expected, kills, seed):
    """Kills random ranks at random moments, and resumes, until the run is through; the result is the same."""
    dice = random.Random(seed)
    count = rounds = 0
    while count < kills:
        output = folder / f"killed-{rounds}"
        rounds += 1
        while True:
            run = Started(deem, output, 2)
            if not run.wait_for(lambda: len(run.ranks()) == 2):
                break
            time.sleep(dice.uniform(0.0, 6.0))
            alive = run.ranks()
            if alive and run.process.poll() is None:
                os.kill(dice.choice(alive), signal.SIGKILL)
                count += 1
            code, _ = run.end(60)
            if code == 0:
                break
            if count >= kills:
                train(deem, output, 2)
                break
        compare(f"after {count} kills", expected, figures(output / "stage1"))
        shutil.rmtree(output)


def hung(deem, folder):
    """A rank that stops answering ends all of them within the limit, with one line that says where."""
    run = Started(deem, folder / "hung", 2, "--timeout", "4")
    assert run.wait_for(lambda: run.steps() >= 1)
    os.kill(run.ranks()[-1], signal.SIGSTOP)
    since = time.monotonic()
    code, errors = run.end(40)
    for rank in run.ranks():
        os.kill(rank, signal.SIGKILL)
    assert code not in (0, None), code
    line = re.search(r"process \d of 2 on \S+, step \d+: waited 4 s", errors)
    assert line, errors[-2000:]
    print(f"ok    a rank that hangs: all ended after {time.monotonic() - since:.0f} s: {line.group()}", flush=True)


def broken(deem, folder):
    """A gradient that is not a number ends all ranks with one message."""
    output = folder / "broken"
    rates = "{ patterns = [\"image_encoder.*\"], learning_rate = 1e30 }"
    run = Started(deem, output, 2, "--set", f"train.groups=[{rates}]", "--set", "train.optimizer.clip=inf")
    code, errors = run.end(300)
    assert code not in (0, None), code
    line = re.search(r"process \d of 2 on \S+, step \d+: the (loss|gradient norm) is \S+", errors)
    assert line, errors[-2000:]
    print(f"ok    a NaN: {line.group()}", flush=True)


def preempted(deem, folder, expected):
    """SIGTERM to every rank (as SLURM sends it) saves and ends with 130; the same command goes on."""
    output = folder / "preempted"
    run = Started(deem, output, 2)
    assert run.wait_for(lambda: run.steps() >= 1)
    for rank in run.ranks():
        os.kill(rank, signal.SIGTERM)
    code, errors = run.end(60)
    assert code == 130, (code, errors[-2000:])
    compare("after SIGTERM, resumed by 3 processes", expected, train(deem, output, 3))


def picture(path, colour):
    """A PNG of one colour with a few stripes."""
    side = 48
    rows = b"".join(
        b"\0" + bytes(channel for x in range(side) for channel in (colour if (x + y) % 16 < 12 else (255, 255, 255)))
        for y in range(side))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def mined(deem, folder):
    """The pictures that an encoder takes for something else, in the same file whoever looked."""
    for number in range(90):
        name = ("cat", "dog", "bus")[number % 3]
        picture(folder / f"pictures/{name}/{number}.png", (number * 2, 40 + number, 200 - number))

    def file(processes):
        output = folder / f"mined-{processes}"
        told(shared(processes, deem, "data", "build-robustvqa", "--images", str(folder / "pictures"), "--output", str(output)))
        return (output / "robustvqa.json").read_bytes()

    assert file(1) == file(2), "build-robustvqa: two processes wrote another file than one"
    print("ok    build-robustvqa: the same file", flush=True)


# The tests' very small CLIP, corrected with the tiny preset's diffusion model.
CORRECTION = """
[weights]
encoder = "CLIP"
diffusion = "preset:tiny"

[model]
diffusion_size = 48
condition = "class"
encoder = { hidden_size = 24, intermediate_size = 48, num_hidden_layers = 2, num_attention_heads = 2, image_size = 32, patch_size = 8, projection_dim = 12 }

[model.autoencoder]
down_block_types = ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"]
up_block_types = ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"]
block_out_channels = [16, 32, 64, 64]
layers_per_block = 1
latent_channels = 12
norm_num_groups = 8
scaling_factor = 0.41055

[model.unet]
in_channels = 12
out_channels = 12
down_block_types = ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D"]
up_block_types = ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D"]
block_out_channels = [80, 160]
layers_per_block = 1
norm_num_groups = 16
cross_attention_dim = 128
attention_head_dim = [4, 8]
use_linear_projection = true

[[stages]]
name = "eyes"
batch = 4
objectives = [{ kind = "contrast", weight = 1.0 }]
train = { save_every = 2, accumulate = 2, schedule = { steps = 4, warmup = 1 }, groups = [{ patterns = ["vision_model.*", "projection.*"], learning_rate = 1e-3 }] }
"""


def corrected(deem, folder):
    clip = Path(__file__).resolve().parents[2] / "crates/engine/tests/golden/clip"
    config = folder / "correction.toml"
    config.write_text(CORRECTION.replace("CLIP\"", f"{clip}\"", 1))

    def losses(processes):
        output = folder / f"corrected-{processes}"
        told(shared(processes, deem, "feedback", "--offline", "--config", str(config), "--data", str(folder / "pictures"),
                    "--output", str(output)))
        assert (output / "encoder/model.safetensors").is_file()
        return figures(output)

    compare("feedback by 2 processes", losses(1), losses(2))


def timed(deem):
    """A step of two processes, started by the program itself."""
    options = {"RAYON_NUM_THREADS": "1"}
    if os.geteuid() == 0:
        options |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    command = [deem, "bench", "train-step", "--processes", "2", "--runs", "2", "--warmup", "1", "--json"]
    report = json.loads(told(command, **options))
    assert report["processes"] == 2 and report["communication_bytes_median"] > 0, report
    print(f"ok    bench train-step --processes 2: {report['seconds_median']:.2f} s a step", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("deem")
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stages", type=int, metavar="STEPS")
    options = parser.parse_args()
    deem = str(Path(options.deem).resolve())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.stages:
            return stages(deem, folder, options.stages)
        expected = train(deem, folder / "alone", 1)
        for processes in (2, 3):
            compare(f"{processes} processes", expected, train(deem, folder / f"of-{processes}", processes))
        rows = train(deem, folder / "rows", 1, "--set", "batch=32")
        parts = train(deem, folder / "parts", 1, "--set", "batch=8", "--set", "train.accumulate=4")
        compare("4 x 8 rows in place of 32", rows, parts)
        preempted(deem, folder, expected)
        hung(deem, folder)
        broken(deem, folder)
        killed(deem, folder, expected, options.kills, options.seed)
        mined(deem, folder)
        corrected(deem, folder)
        timed(deem)


if __name__ == "__main__":
    main()
