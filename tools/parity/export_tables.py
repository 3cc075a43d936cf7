#!/usr/bin/env python3
"""Golden files of published containers: crates/data/tests/golden/tables.

Parquet tables as Hugging Face publishes them (several row groups, dictionaries, small pages, with and without an index of
pages, snappy, zstd, gzip, both versions of data pages), a shard of the package `webdataset`, and the pickles of RefCOCO; each
beside what stands in it (tables.json).

Needs: pip install pyarrow==26.0.1 webdataset==1.0.2 pillow==13.0.0. Run from anywhere:

    python tools/parity/export_tables.py
"""

import io
import json
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import webdataset
from PIL import Image

OUTPUT = Path(__file__).resolve().parents[2] / "crates/data/tests/golden/tables"


def colour(row, number):
    return (row * 20, number * 40, 7)


def png(row, number):
    out = io.BytesIO()
    Image.new("RGB", (5, 4), colour(row, number)).save(out, "PNG")
    return out.getvalue()


def picture(row, number):
    return {"bytes": png(row, number), "path": f"{row}-{number}.png"}


PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def conversations():
    """FineVision's rows: none to three pictures, one to three turns, repeated texts."""
    rows = []
    for row in range(11):
        turns = [{"user": f"Question {turn} of {row}?", "assistant": ["Yes.", "No."][turn % 2]} for turn in range(1 + row % 3)]
        rows.append({"images": [picture(row, n) for n in range(row % 4)], "texts": turns, "source": "made"})
    schema = pa.schema([
        ("images", pa.list_(PICTURE)),
        ("texts", pa.list_(pa.struct([("user", pa.string()), ("assistant", pa.string())]))),
        ("source", pa.string()),
    ])
    return pa.Table.from_pylist(rows, schema), rows


def mirror():
    """A LLaVA mirror's rows: a picture or none, conversations of human and gpt."""
    rows = []
    for row in range(5):
        turns = [{"from": "human", "value": f"<image>\nWhat is {row}?" if row % 2 == 0 else f"What is {row}?"}, {"from": "gpt", "value": f"It is {row}."}]
        rows.append({"id": str(row), "image": picture(row, 0) if row % 2 == 0 else None, "conversations": turns})
    schema = pa.schema([("id", pa.string()), ("image", PICTURE), ("conversations", pa.list_(pa.struct([("from", pa.string()), ("value", pa.string())])))])
    return pa.Table.from_pylist(rows, schema), rows


def captions():
    labels = ["apple", "pear", "apple", "plum", "apple", "pear"]
    rows = [{"image": picture(row, 0), "label": label, "caption": [f"The {label} number {row}."]} for row, label in enumerate(labels)]
    schema = pa.schema([("image", PICTURE), ("label", pa.string()), ("caption", pa.list_(pa.string()))])
    return pa.Table.from_pylist(rows, schema), rows


def references():
    return [
        {
            "ref_id": number,
            "ann_id": 10 + number,
            "image_id": 3,
            "category_id": 1,
            "file_name": f"COCO_train2014_000000000003_{number}.jpg",
            "split": "val" if number == 2 else "train",
            "sent_ids": [2 * number, 2 * number + 1],
            "sentences": [{"raw": text, "sent": text, "sent_id": 2 * number + k, "tokens": text.split()} for k, text in enumerate([f"left thing {number}", f"the caf\u00e9's \"{number}\""])],
        }
        for number in range(4)
    ]


def main():
    OUTPUT.mkdir(parents=True, exist_ok=True)
    plain = {"use_dictionary": ["texts.list.element.assistant", "source", "label"], "data_page_size": 300, "write_batch_size": 1}
    written = []
    for name, made, options in [
        ("conversations-snappy.parquet", conversations(), {"compression": "snappy", "row_group_size": 4}),
        ("conversations-zstd-index.parquet", conversations(), {"compression": "zstd", "row_group_size": 6, "write_page_index": True}),
        ("conversations-plain-v2.parquet", conversations(), {"compression": "none", "row_group_size": 100, "data_page_version": "2.0"}),
        ("mirror-snappy.parquet", mirror(), {"compression": "snappy", "row_group_size": 2}),
        ("captions-zstd-v2-index.parquet", captions(), {"compression": "zstd", "row_group_size": 5, "data_page_version": "2.0", "write_page_index": True}),
        ("captions-gzip.parquet", captions(), {"compression": "gzip"}),
    ]:
        table, rows = made
        pq.write_table(table, OUTPUT / name, **plain, **options)
        shown = json.loads(json.dumps(rows, default=lambda data: len(data)))
        written.append({"file": name, "rows": shown})
    (OUTPUT / "tables.json").write_text(json.dumps(written, indent=1) + "\n")

    with webdataset.TarWriter(str(OUTPUT / "python-000000.tar")) as shard:
        for row in range(3):
            shard.write({"__key__": f"{row:06d}", "png": Image.new("RGB", (5, 4), colour(row, 0)), "txt": f"The picture number {row}.", "json": {"label": f"label {row}"}})

    refs = references()
    (OUTPUT / "refs.json").write_text(json.dumps(refs, indent=1) + "\n")
    for protocol in (0, 2, 4):
        (OUTPUT / f"refs({protocol}).p").write_bytes(pickle.dumps(refs, protocol))
    print(sum(f.stat().st_size for f in OUTPUT.iterdir()), "bytes")


if __name__ == "__main__":
    main()
