#!/usr/bin/env python3
"""Trains over several hosts that are network namespaces of one machine, with addresses of their own; cuts one off mid-run.

    sudo tools/cluster/hosts.py target/release/deem      # a program built with --features mpi
    sudo tools/cluster/hosts.py target/release/deem --rate 200mbit [--against OTHER] [--rounds 3]

The second form times steps where each host sends no faster than that, of two programs in turn.

Needs root, Debian's iproute2 and Open MPI. mpirun starts its daemons through this file (as its own rsh agent), which enters
the namespace that has the address; they and the processes then talk over the virtual network alone.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from check import STAGE, TIMED, medians

HOSTS = {"10.231.7.1": "deem-one", "10.231.7.2": "deem-two"}
BRIDGE = "deem-bridge"
ME = Path(__file__).resolve()


def run(*words, check=True):
    return subprocess.run(words, check=check, capture_output=not check, text=True)


def agent(address, command):
    """What mpirun calls in place of ssh: ADDRESS COMMAND …"""
    os.execvp("ip", ["ip", "netns", "exec", HOSTS[address], "sh", "-c", " ".join(command)])


def end(name):
    """Ends what still runs on a host."""
    pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout.split()
    for pid in pids:
        run("kill", "-9", pid, check=False)


def down():
    for number, name in enumerate(HOSTS.values()):
        end(name)
        run("ip", "netns", "delete", name, check=False)
        run("ip", "link", "delete", f"deem-v{number}", check=False)
    run("ip", "link", "delete", BRIDGE, check=False)


def up():
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "link", "set", BRIDGE, "up")
    for number, (address, name) in enumerate(HOSTS.items()):
        run("ip", "netns", "add", name)
        run("ip", "link", "add", f"deem-v{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", f"deem-v{number}", "master", BRIDGE, "up")
        inside = ("ip", "-n", name)
        run(*inside, "address", "add", f"{address}/24", "dev", "eth0")
        run(*inside, "link", "set", "eth0", "up")
        run(*inside, "link", "set", "lo", "up")
        # Else the launcher tries for a quarter of an hour to tell a host that is gone to stop.
        run("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv4.tcp_retries2=5")


def command(deem, output, *options, size=STAGE):
    first = next(iter(HOSTS.values()))
    return [
        # The launcher stands on the first host; names of network devices keep Open MPI off the machine's own network.
        "ip", "netns", "exec", first,
        "mpirun", "--allow-run-as-root", "--bind-to", "none", "-n", "2", "-H", ",".join(f"{host}:1" for host in HOSTS),
        "--mca", "plm_rsh_agent", str(ME), "--mca", "plm_rsh_no_tree_spawn", "1",
        "--mca", "oob_tcp_if_include", "eth0", "--mca", "btl_tcp_if_include", "eth0",
        # Not through shared memory: these are hosts of their own.
        "--mca", "btl", "self,tcp", "--mca", "pml", "ob1",
        "-x", "RAYON_NUM_THREADS=1", "-x", "PATH", "-x", "HOME",
        deem, "train", "--output", str(output), *size, *options,
    ]


def timed(programs, rate, rounds):
    """Seconds of a step."""
    down()
    up()
    try:
        for name in HOSTS.values():
            run("tc", "-n", name, "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", rate, "burst", "256kb", "latency", "500ms")
        with tempfile.TemporaryDirectory() as folder:
            for number in range(rounds):
                for which, program in enumerate(programs):
                    output = Path(folder) / f"{which}-{number}"
                    subprocess.run(command(program, output, size=TIMED), check=True, capture_output=True)
                    step, exchange = medians(output / "stage1", "seconds", "communication_seconds")
                    print(f"round {number + 1}, {program}: {step:.3f} s a step, {exchange:.3f} s in exchanges", flush=True)
    finally:
        down()


def main(deem):
    down()
    up()
    try:
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "run"
            log = output / "stage1/metrics.jsonl"
            errors = Path(folder) / "errors"
            with errors.open("w") as file:
                process = subprocess.Popen(command(deem, output, "--timeout", "5"), stderr=file, stdout=subprocess.DEVNULL)
                while not log.exists() or len(log.read_text().splitlines()) < 3:
                    assert process.poll() is None, errors.read_text()[-3000:]
                    time.sleep(0.05)
                run("ip", "link", "set", "deem-v1", "down")
                since = time.monotonic()
                try:
                    code = process.wait(90)
                except subprocess.TimeoutExpired:
                    process.kill()
                    left = subprocess.run(["ip", "netns", "pids", "deem-one"], capture_output=True, text=True).stdout.split()
                    names = [Path(f"/proc/{pid}/comm").read_text().strip() for pid in left]
                    sys.exit(f"90 s after a host was cut off there are still {names}:\n{errors.read_text()[-2000:]}")
            seconds = time.monotonic() - since
            found = re.search(r"process \d of 2 on \S+, step \d+: waited 5 s", errors.read_text())
            assert code != 0 and found, errors.read_text()[-3000:]
            print(f"ok    a host cut off: ended {seconds:.0f} s later: {found.group()}", flush=True)
            end(HOSTS["10.231.7.2"])
            run("ip", "link", "set", "deem-v1", "up")
            time.sleep(5)  # until the bridge forwards again
            done = subprocess.run(command(deem, output), capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stderr[-3000:]
            steps = [line for line in log.read_text().splitlines() if line]
            assert len(steps) == 6, len(steps)
            sent = subprocess.run(["ip", "-n", "deem-one", "-s", "link", "show", "eth0"], capture_output=True, text=True).stdout
            print(f"ok    two hosts: 6 steps, resumed after the cut; of the first host's device:\n{sent}", flush=True)
    finally:
        down()


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[1] in HOSTS:
        agent(sys.argv[1], sys.argv[2:])
    else:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("deem", type=Path)
        parser.add_argument("--rate", help="what a host sends at most, as tc writes it")
        parser.add_argument("--against", type=Path, help="another program to time in turn")
        parser.add_argument("--rounds", type=int, default=3)
        options = parser.parse_args()
        programs = [str(path.resolve()) for path in (options.deem, options.against) if path]
        if options.rate:
            timed(programs, options.rate, options.rounds)
        else:
            main(programs[0])
