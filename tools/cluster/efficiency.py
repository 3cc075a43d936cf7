#!/usr/bin/env python3
"""Times a step of two processes with a thread each beside one process with two threads, in turn.

    tools/cluster/efficiency.py target/release/deem --rounds 10      # a program built with --features mpi

Needs a machine with two cores that does nothing else, Python 3 and an MPI. A time is the median of a run's last eleven steps.
"""

import argparse
import os
import statistics
import subprocess
import tempfile
from pathlib import Path

from check import TIMED, medians, mpirun


def seconds(deem, output, processes):
    launcher = [*mpirun(), "-n", str(processes)] if processes > 1 else []
    command = [*launcher, deem, "train", "--output", str(output), *TIMED]
    threads = {"RAYON_NUM_THREADS": str(2 // processes)}
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **threads})
    return medians(output / "stage1", "seconds", "communication_seconds", "straggler_seconds")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("deem", type=Path)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    deem = str(options.deem.resolve())
    ones, twos = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1, options.rounds + 1):
            one, _, _ = seconds(deem, Path(folder) / f"one-{number}", 1)
            two, exchanging, waiting = seconds(deem, Path(folder) / f"two-{number}", 2)
            ones.append(one)
            twos.append(two)
            print(
                f"round {number}: one process {one:.3f} s, two {two:.3f} s, efficiency {one / two:.2f}; exchanging"
                f" {exchanging:.3f} s, slowest behind fastest {waiting:.3f} s", flush=True)
    each = [one / two for one, two in zip(ones, twos)]
    print(
        f"all rounds: {sum(ones) / len(ones):.3f} s, {sum(twos) / len(twos):.3f} s, efficiency {sum(ones) / sum(twos):.2f};"
        f" median of rounds {statistics.median(each):.2f}, at least 0.95 in {sum(e >= 0.95 for e in each)} of {len(each)}")


if __name__ == "__main__":
    main()
