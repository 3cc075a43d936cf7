#!/usr/bin/env python3
"""Tries training by several processes with a real mpirun: the same run as one process, killed, hung, resumed.

    tools/cluster/check.py target/release/deem            # a program built with --features mpi
    tools/cluster/check.py target/release/deem --kills 20

Needs Python 3 alone and an MPI (Debian: openmpi-bin or mpich). Trains a few steps of the built-in experiment.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STEPS = 6
# Small, of ragged rows, with all three terms of the loss.
STAGE = [
    "--stage", "stage1", "--seed", "3",
    "--set", f"train.schedule={{steps = {STEPS}, warmup = 1}}", "--set", "train.save_every=2", "--set", "train.probe_every=0",
    "--set", "batch=6",
]


def command(deem, output, processes, *options):
    train = [deem, "train", "--output", str(output), *STAGE, *options]
    if processes == 1:
        return train
    return [*mpirun(), "-n", str(processes), *train]


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
    done = subprocess.run(command(deem, output, processes, *options), capture_output=True, text=True, env=environment())
    if done.returncode != 0:
        sys.exit(f"{processes} processes ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return figures(output)


def figures(output):
    """Losses by step."""
    lines = (output / "stage1/metrics.jsonl").read_text().splitlines()
    kept = {}
    for line in map(json.loads, lines):
        kept[line["step"]] = {k: v for k, v in line.items() if k.startswith("loss")}
    return kept


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
        compare(f"after {count} kills", expected, figures(output))
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("deem")
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    deem = str(Path(options.deem).resolve())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        expected = train(deem, folder / "alone", 1)
        for processes in (2, 3):
            compare(f"{processes} processes", expected, train(deem, folder / f"of-{processes}", processes))
        preempted(deem, folder, expected)
        hung(deem, folder)
        broken(deem, folder)
        killed(deem, folder, expected, options.kills, options.seed)


if __name__ == "__main__":
    main()
