#!/usr/bin/env python3
"""Pictures a processor second, beside Pillow: decoding, and the squares of 256 and 512 pixels, as planar floats in [0, 1].

    cargo build --release
    pip install pillow numpy
    tools/bench/data.py --images FOLDER_OF_JPEGS [--count 64] [--rounds 4]

Both sides read the same bytes from memory, on one thread, in turn, A B A B, and are timed in processor seconds. Without
--images, photograph-like pictures of 512 pixels are made. Prints JSON: the rates of each round and `ratio`, ours through
Pillow's, above 1 where ours is faster.
"""

import argparse
import io
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SIDES = (256, 512)


def make(folder, count):
    """Smooth areas, edges and grain."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:512, 0:512].astype(np.float32)
    for number in range(count):
        waves = rng.uniform(0.01, 0.12, 6)
        edge = np.where(np.sin(x * waves[0]) + np.cos(y * waves[1]) > 0.4, 60, 0)
        planes = [100 + 70 * np.sin(x * waves[2 + c] + y * waves[5]) + edge for c in range(3)]
        picture = np.stack(planes, -1) + rng.normal(0, 6, (512, 512, 1))
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"{number:06}.jpg", quality=90)


def decoded(data):
    return Image.open(io.BytesIO(data)).convert("RGB")


def with_views(data):
    image = decoded(data)
    short = min(image.size)
    left, top = (image.width - short) / 2, (image.height - short) / 2
    box = (left, top, left + short, top + short)
    views = []
    for side in SIDES:
        view = image.resize((side, side), Image.Resampling.BICUBIC, box)
        views.append(np.ascontiguousarray((np.asarray(view, np.float32) / 255).transpose(2, 0, 1)))
    return views


def rate(work, files, runs):
    times = []
    for _ in range(runs):
        start = time.process_time()
        for data in files:
            work(data)
        times.append(time.process_time() - start)
    return len(files) / statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deem", default=ROOT / "target/release/deem")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.images or Path(scratch)
        if options.images is None:
            make(folder, options.count)
        files = [path.read_bytes() for path in sorted(folder.glob("*.jp*g"))[: options.count]]
        rounds = []
        for _ in range(options.rounds):
            command = [options.deem, "bench", "data", "--images", folder, "--count", options.count, "--runs", options.runs, "--warmup", 1, "--json"]
            ours = json.loads(subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, check=True, text=True).stdout)
            rounds.append({
                "deem_decoded": ours["decoded_per_cpu_second"],
                "pillow_decoded": round(rate(decoded, files, options.runs), 1),
                "deem": ours["with_views_per_cpu_second"],
                "pillow": round(rate(with_views, files, options.runs), 1),
                "loader_overhead_percent": ours["loader_overhead_percent"],
            })
        middle = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
        print(json.dumps({
            "pictures": len(files),
            "pillow_version": Image.__version__,
            "ratio": round(middle["deem"] / middle["pillow"], 2),
            "ratio_decoding": round(middle["deem_decoded"] / middle["pillow_decoded"], 2),
            "medians": middle,
            "rounds": rounds,
        }, indent=1))


if __name__ == "__main__":
    main()
