"""Photographs in WebDataset shards -> a folder of classes for each split, which image-folder readers take.

    python tools/photos/classes.py SHARDS OUT [GROUP]

SHARDS is a folder of `GROUP-train-*.tar` and `GROUP-val-*.tar` (GROUP is grocery unless said), each picture beside a record
with its `label`. OUT gets `train/LABEL/*.jpg` and `val/LABEL/*.jpg`.
"""

import json
import sys
import tarfile
from pathlib import Path


def unpack(shard, target):
    records = {}
    with tarfile.open(shard) as files:
        for file in files:
            stem, ending = file.name.rsplit(".", 1)
            records.setdefault(stem, {})[ending] = files.extractfile(file).read()
    for stem, record in sorted(records.items()):
        label = json.loads(record["json"])["label"].replace("/", "-")
        folder = target / label
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{shard.stem}-{Path(stem).name}.jpg").write_bytes(record["jpg"])
    return len(records)


def main(shards, out, group="grocery"):
    for split in ("train", "val"):
        found = sorted(Path(shards).glob(f"{group}-{split}-*.tar"))
        if not found:
            sys.exit(f"{shards}: expected shards {group}-{split}-*.tar, found none")
        count = sum(unpack(shard, Path(out) / split) for shard in found)
        print(f"{split}: {count} photographs")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:])
