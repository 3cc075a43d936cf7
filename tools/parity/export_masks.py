#!/usr/bin/env python3
"""Golden file of masks: crates/data/tests/golden/masks.json.

Polygons and run lengths, plain and packed, as COCO writes them, each beside the packed run lengths that pycocotools makes.

Needs: pip install pycocotools==2.0.11 numpy. Run from anywhere:

    python tools/parity/export_masks.py
"""

import json
import random
from pathlib import Path

import numpy as np
from pycocotools import mask

OUTPUT = Path(__file__).resolve().parents[2] / "crates/data/tests/golden/masks.json"


def star(rng, width, height, corners, margin):
    """A polygon around the middle, perhaps over the picture's rim, with halves and thirds of pixels."""
    angles = sorted(rng.uniform(0, 2 * np.pi) for _ in range(corners))
    points = []
    for angle in angles:
        radius = rng.uniform(0.1, 0.5 + margin)
        points += [width * (0.5 + radius * np.cos(angle)), height * (0.5 + radius * np.sin(angle))]
    return [round(float(p), 2) for p in points]


def main():
    rng = random.Random(5)
    cases = []

    def add(segmentation, width, height):
        objects = mask.frPyObjects(segmentation, height, width)
        merged = mask.merge(objects) if isinstance(objects, list) else objects
        cases.append({"segmentation": segmentation, "width": width, "height": height, "counts": merged["counts"].decode()})

    add([[1, 1, 3, 1, 3, 3, 1, 3]], 4, 4)
    add([[0, 0, 8, 0, 8, 6, 0, 6]], 8, 6)
    add([[2, 2, 2, 2, 5, 2, 5, 5, 5, 5]], 8, 8)  # a corner twice
    add([[1.5, 1.5, 6.5, 6.5, 1.5, 6.5]], 8, 8)
    add([[1, 1, 6, 6, 6, 1, 1, 6]], 8, 8)  # crosses itself
    add([[3, 3, 3, 3, 3, 3]], 8, 8)  # a point
    add([[-5, -5, 20, -3, 22, 19, -4, 21]], 12, 10)  # around the picture
    for _ in range(60):
        width, height = rng.randint(1, 90), rng.randint(1, 70)
        add([star(rng, width, height, rng.randint(3, 30), rng.choice([0, 0.4])) for _ in range(rng.randint(1, 3))], width, height)
    for _ in range(20):
        width, height = rng.randint(1, 60), rng.randint(1, 60)
        noise = np.asfortranarray(np.random.default_rng(len(cases)).random((height, width)) < rng.random(), dtype=np.uint8)
        packed = mask.encode(noise)
        flat, runs, last, run = noise.flatten("F"), [], 0, 0
        for value in flat:
            if value != last:
                runs.append(run)
                run, last = 0, value
            run += 1
        runs.append(run)
        add({"counts": [int(r) for r in runs], "size": [height, width]}, width, height)
        text = packed["counts"].decode()
        cases.append({"segmentation": {"counts": text, "size": [height, width]}, "width": width, "height": height, "counts": text})
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
    print(len(cases), "masks,", OUTPUT.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
