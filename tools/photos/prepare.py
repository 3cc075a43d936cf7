"""Photographs in WebDataset shards -> what the three stages of configs/photos-stage*.toml read.

    pip install -r tools/photos/requirements.txt
    python tools/photos/prepare.py SHARDS OUT

SHARDS is a folder of `*-train-*.tar`, each picture beside a record with `label`, `category` and `group` (any that is
there). OUT gets `images/`, and

- `captions.jsonl` for stage 1: what a shop or a photographer would write beside a picture;
- `conversations.json` for stage 2, in LLaVA's layout;
- `instances.json` for stage 3, in COCO's layout: the thing's outline as GrabCut finds it, where it finds one.
"""

import json
import random
import sys
import tarfile
from pathlib import Path

import cv2
import numpy as np


def thing(record):
    """What is in the picture: "Granny Smith, an apple", "shorts"."""
    label, category = record["label"], record.get("category", "")
    category = "" if category.lower() in (label.lower(), "clothing") else category.lower()
    article = "an" if category[:1] in tuple("aeiou") else "a"
    return f"{label}, {article} {category}" if category else label.lower()


def captions(record):
    name = thing(record)
    return [f"a photo of {name}", name, f"{name}, photographed with a phone"]


def conversation(record, draw):
    """Two questions with short answers and one that asks for a sentence, in an order of their own."""
    category = (record.get("category") or "thing").lower()
    turns = [
        ("What is in the picture?", f"This is {thing(record)}."),
        (f"What {category} is this? Answer in a few words.", record["label"]),
        ("Is this food or clothing?", "Clothing." if record.get("group") == "Clothing" else "Food."),
    ]
    draw.shuffle(turns)
    turns[0] = (f"<image>\n{turns[0][0]}", turns[0][1])
    return [
        {"from": who, "value": value}
        for question, answer in turns
        for who, value in (("human", question), ("gpt", answer))
    ]


def outline(picture):
    """Polygons around what stands in the middle, or none if that is nothing or nearly everything."""
    small = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    height, width = small.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    edge = max(2, min(height, width) // 16)
    models = np.zeros((2, 1, 65))
    cv2.setRNGSeed(0)
    cv2.grabCut(small, mask, (edge, edge, width - 2 * edge, height - 2 * edge), models[0], models[1], 2, cv2.GC_INIT_WITH_RECT)
    found = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    if not 0.05 < found.mean() < 0.8:
        return None
    contours, _ = cv2.findContours(found, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    polygons = [(2 * c.reshape(-1)).astype(float).tolist() for c in contours if cv2.contourArea(c) > 12]
    return polygons or None


def main(shards, out):
    images = out / "images"
    images.mkdir(parents=True, exist_ok=True)
    draw = random.Random(0)
    said, talks, pictures, annotations, names = [], [], [], [], {}
    for shard in sorted(shards.glob("*-train-*.tar")):
        with tarfile.open(shard) as tar:
            members = {member.name: member for member in tar.getmembers()}
            for name in sorted(name for name in members if name.endswith(".jpg")):
                record = json.load(tar.extractfile(members[name[:-4] + ".json"]))
                data = tar.extractfile(members[name]).read()
                (images / name).write_bytes(data)
                said.append({"image": name, "caption": captions(record)})
                talks.append({"id": name, "image": name, "conversations": conversation(record, draw)})
                picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
                polygons = outline(picture)
                if polygons is None:
                    continue
                number = len(pictures) + 1
                height, width = picture.shape[:2]
                pictures.append({"id": number, "file_name": name, "height": height, "width": width})
                category = names.setdefault(thing(record), len(names) + 1)
                x, y, w, h = cv2.boundingRect(np.concatenate([np.array(p, np.float32).reshape(-1, 2) for p in polygons]))
                annotations.append({
                    "id": number, "image_id": number, "category_id": category, "iscrowd": 0,
                    "segmentation": polygons, "bbox": [x, y, w, h], "area": w * h,
                })
    (out / "captions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in said))
    (out / "conversations.json").write_text(json.dumps(talks))
    (out / "instances.json").write_text(json.dumps({
        "images": pictures, "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in names.items()],
    }))
    print(f"{len(said)} pictures, {len(annotations)} outlines, {len(names)} kinds of things")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
