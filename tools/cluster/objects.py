#!/usr/bin/env python3
"""Trains into an S3 server (moto's), kills the run in the middle of uploads, and goes on with an empty disk: always from a
complete checkpoint, and to the same result.

    python tools/cluster/objects.py target/release/deem                 # needs tools/parity/requirements-data.txt
    python tools/cluster/objects.py target/release/deem --kills 40 --processes 1 2

More than one process needs a program built with --features mpi, and an MPI.
"""

import argparse
import hashlib
import json
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
from pathlib import Path

import boto3
import check
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

BUCKET = "runs"


class Server:
    """An S3 server that may do something when a certain object is put there."""

    def __init__(self):
        self.app = DomainDispatcherApplication(create_backend_app)
        self.lock = threading.Lock()
        self.puts, self.at, self.event, self.stored = 0, None, None, False
        self.server = make_server("127.0.0.1", 0, self.answer, True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self.server.port}"

    def answer(self, environ, start_response):
        if environ["REQUEST_METHOD"] != "PUT":
            return self.app(environ, start_response)
        with self.lock:
            self.puts += 1
            hit, event, stored = self.puts == self.at, self.event, self.stored
        answer = self.app(environ, start_response) if not hit or stored else None
        if hit:
            event()
        if answer is None:
            # A store keeps nothing of what did not arrive whole.
            start_response("500 Internal Server Error", [("Content-Length", "0")])
            return [b""]
        return answer

    def on_put(self, number, event, stored):
        """Calls `event` at the put of a number from now on, before or after it is stored."""
        with self.lock:
            self.puts, self.at, self.event, self.stored = 0, number, event, stored


def complete(s3, run):
    """The step of the newest checkpoint that the index names; all that it names is there and what it is said to be."""
    def read(key):
        try:
            return s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        except s3.exceptions.NoSuchKey:
            return None

    index = read(f"{run}/stage1/index.json")
    if index is None:
        return 0
    newest = json.loads(index)["checkpoints"][-1]
    for path, checksum in newest["files"].items():
        content = read(f"{run}/stage1/parts/{checksum}-{path.rsplit('/', 1)[-1]}")
        assert content is not None, f"{run}: the index names {path}, which is not there"
        assert hashlib.sha256(content).hexdigest() == checksum, f"{run}: {path} is damaged"
        if path == "checkpoint/state.json":
            step = json.loads(content)["step"]
    assert step == newest["step"], f"{run}: the state of step {step} in the checkpoint of step {newest['step']}"
    return step


def weights(folder):
    """Checksum of what was trained, of the first process's folder."""
    found = sorted(folder.rglob("stage1/checkpoint/model.safetensors"))
    return hashlib.sha256(found[0].read_bytes()).hexdigest()


def log(folder):
    return check.figures(sorted(folder.rglob("stage1/metrics.jsonl"))[0].parent)


def tried(deem, server, s3, folder, processes, kills, dice):
    expected = check.train(deem, folder / f"here-{processes}", processes)
    result = weights(folder / f"here-{processes}")
    name = f"whole-{processes}"
    server.on_put(None, None, False)
    started = check.Started(deem, f"s3://{BUCKET}/{name}", processes, "--scratch", str(folder / name))
    code, errors = started.end(600)
    assert code == 0, errors[-3000:]
    puts = server.puts
    assert complete(s3, name) == check.STEPS and weights(folder / name) == result
    check.compare(f"{processes} processes, into the store", expected, log(folder / name))
    # Somebody who comes later finds the result, and trains nothing.
    again = folder / f"{name}-again"
    check.told(check.command(deem, f"s3://{BUCKET}/{name}", processes, "--scratch", str(again)))
    assert weights(again) == result and log(again) == log(folder / name)

    points = [(put, stored) for put in range(1, puts + 1) for stored in (False, True)]
    chosen = sorted(dice.sample(points, min(kills, len(points))))
    resumed = []
    for put, stored in chosen:
        name = f"killed-{processes}-{put}-{int(stored)}"
        scratch = folder / name
        started = None
        dead = threading.Event()

        def kill():
            dead.set()  # before anybody can see that it ended
            for rank in started.ranks():
                os.kill(rank, signal.SIGKILL)
            started.process.kill()

        server.on_put(put, kill, stored)
        started = check.Started(deem, f"s3://{BUCKET}/{name}", processes, "--scratch", str(scratch))
        code, errors = started.end(600)
        if not dead.is_set():
            # The number of puts depends on what was there already; this run came through.
            assert code == 0, errors[-3000:]
        server.on_put(None, None, False)
        step = complete(s3, name)
        resumed.append(step)
        shutil.rmtree(scratch)
        check.told(check.command(deem, f"s3://{BUCKET}/{name}", processes, "--scratch", str(scratch)))
        assert complete(s3, name) == check.STEPS, name
        assert weights(scratch) == result, f"{name}: another result after step {step}"
        assert log(scratch).keys() == expected.keys(), name
        shutil.rmtree(scratch)
    steps = {step: resumed.count(step) for step in sorted(set(resumed))}
    print(f"ok    {processes} processes: {len(chosen)} kills at {puts} puts, resumed on an empty disk (steps: {steps}), "
          "the same weights to the bit", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("deem")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--processes", type=int, nargs="+", default=[1])
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    deem = str(Path(options.deem).resolve())
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = Server()
    os.environ |= {
        "AWS_ENDPOINT": server.endpoint, "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
    }
    s3 = boto3.client("s3", endpoint_url=server.endpoint, region_name="us-east-1", aws_access_key_id="a",
                      aws_secret_access_key="b")
    s3.create_bucket(Bucket=BUCKET)
    dice = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        for processes in options.processes:
            tried(deem, server, s3, Path(name), processes, options.kills, dice)


if __name__ == "__main__":
    sys.exit(main())
