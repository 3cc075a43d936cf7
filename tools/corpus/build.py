#!/usr/bin/env python3
"""Builds assets/corpus: the emoji drawings of concepts.tsv as WebDataset shards.

The art comes from the npm packages in PACKAGES (pinned; fetched with `npm pack`), one shard per
style. A record is `<codepoint>.<style>.webp` (64x64 RGBA, lossless) with `<codepoint>.<style>.json`.
Packages that know names instead of code points are read through names.tsv; a concept without a name there has no
drawing in that style. The output depends on nothing but the packages, concepts.tsv and names.tsv, so running it
again gives the same bytes.

    python -m venv venv && venv/bin/pip install -r tools/corpus/requirements.txt
    venv/bin/python tools/corpus/build.py [--packages DIR] [--output assets/corpus]
"""

import argparse
import csv
import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path

import resvg_py
from PIL import Image

SIZE = 64

PACKAGES = {
    "noto": "emoji-datasource-google@16.0.0",
    "twemoji": "emoji-datasource-twitter@16.0.0",
    "fluent-3d": "@lobehub/fluent-emoji-3d@1.1.0",
    "fluent-flat": "@iconify-json/fluent-emoji-flat@1.2.6",
    "fluent-high-contrast": "@iconify-json/fluent-emoji-high-contrast@1.2.6",
    "noto-blob": "@iconify-json/noto-v1@1.2.5",
    "emojione": "@iconify-json/emojione@1.2.3",
    "fxemoji": "@iconify-json/fxemoji@1.2.2",
    "labels": "emojibase-data@17.0.0",
}

LICENCES = {
    "noto": "Apache-2.0",
    "twemoji": "CC-BY-4.0",
    "fluent-3d": "MIT",
    "fluent-flat": "MIT",
    "fluent-high-contrast": "MIT",
    "noto-blob": "Apache-2.0",
    "emojione": "CC-BY-4.0",
    "fxemoji": "CC-BY-4.0",
}


def fetch(spec, folder):
    """Path of the package's tarball in `folder`, fetched with the npm client unless it is there."""
    name, version = spec.rsplit("@", 1)
    path = folder / f"{name.lstrip('@').replace('/', '-')}-{version}.tgz"
    if not path.exists():
        subprocess.run(["npm", "pack", "--silent", spec], cwd=folder, check=True)
    return path


def members(path, wanted):
    """Bytes of the files in a package whose path below `package/` satisfies `wanted`."""
    with tarfile.open(path) as archive:
        names = ((m, m.name.removeprefix("package/")) for m in archive if m.isfile())
        return {name: archive.extractfile(m).read() for m, name in names if wanted(name)}


def downscale(image):
    """`image` at SIZE x SIZE, resampled with premultiplied alpha."""
    image = image.convert("RGBA")
    if image.size == (SIZE, SIZE):
        return image
    return image.convert("RGBa").resize((SIZE, SIZE), Image.Resampling.LANCZOS).convert("RGBA")


class Datasource:
    """emoji-datasource-*: 64-pixel PNGs named by an index file."""

    def __init__(self, path, folder):
        prefix = f"img/{folder}/64/"
        self.files = members(path, lambda n: n.startswith(prefix) or n == "emoji.json")
        self.prefix = prefix
        self.index = {}
        for entry in json.loads(self.files["emoji.json"]):
            for key in ("non_qualified", "unified"):
                if entry.get(key):
                    self.index[entry[key].lower()] = entry

    def entry(self, codepoint):
        return self.index.get(codepoint) or self.index[codepoint + "-fe0f"]

    def drawing(self, codepoint):
        return downscale(Image.open(io.BytesIO(self.files[self.prefix + self.entry(codepoint)["image"]])))


class WebpFolder:
    """@lobehub/fluent-emoji-3d: `assets/<codepoint>.webp`."""

    def __init__(self, path):
        self.files = members(path, lambda n: n.startswith("assets/"))

    def drawing(self, codepoint):
        name = f"assets/{codepoint}.webp"
        data = self.files.get(name) or self.files[f"assets/{codepoint}-fe0f.webp"]
        return downscale(Image.open(io.BytesIO(data)))


class Iconify:
    """@iconify-json/*: SVG bodies with a code point map."""

    def __init__(self, path):
        files = members(path, lambda n: n in ("chars.json", "icons.json"))
        self.names = json.loads(files["chars.json"])
        self.icons = json.loads(files["icons.json"])

    def drawing(self, codepoint):
        return self.named(self.names.get(codepoint) or self.names[codepoint + "-fe0f"])

    def named(self, name):
        """Drawing of an icon, or of the one that it is another name of."""
        icon = self.icons["icons"][self.icons.get("aliases", {}).get(name, {"parent": name})["parent"]]
        width = icon.get("width", self.icons.get("width", 32))
        height = icon.get("height", self.icons.get("height", 32))
        svg = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{SIZE}" height="{SIZE}">{icon["body"].replace("currentColor", "#212121")}</svg>'
        )
        return downscale(Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg)))))


class NamedIcons(Iconify):
    """@iconify-json/* without code points: `names` has the name of each one's icon, empty where there is none."""

    def __init__(self, path, names):
        super().__init__(path)
        self.names = names

    def drawing(self, codepoint):
        name = self.names[codepoint]
        return self.named(name) if name else None


def add(archive, name, data):
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = len(data), 0, 0o644
    archive.addfile(info, io.BytesIO(data))


def main():
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, default=Path.home() / ".cache/deem/corpus")
    parser.add_argument("--output", type=Path, default=here.parents[1] / "assets/corpus")
    options = parser.parse_args()
    options.packages.mkdir(parents=True, exist_ok=True)
    options.output.mkdir(parents=True, exist_ok=True)

    paths = {style: fetch(spec, options.packages) for style, spec in PACKAGES.items()}
    with open(here / "names.tsv", newline="") as file:
        names = list(csv.DictReader(file, delimiter="\t"))

    def named(style):
        return NamedIcons(paths[style], {row["codepoint"]: row[style] for row in names})

    styles = {
        "noto": Datasource(paths["noto"], "google"),
        "twemoji": Datasource(paths["twemoji"], "twitter"),
        "fluent-3d": WebpFolder(paths["fluent-3d"]),
        "fluent-flat": Iconify(paths["fluent-flat"]),
        "fluent-high-contrast": Iconify(paths["fluent-high-contrast"]),
        "noto-blob": named("noto-blob"),
        "emojione": named("emojione"),
        "fxemoji": named("fxemoji"),
    }
    data = members(paths["labels"], lambda n: n == "en/data.json")["en/data.json"]
    labels = {e["hexcode"].lower().removesuffix("-fe0f"): e for e in json.loads(data)}

    with open(here / "concepts.tsv", newline="") as file:
        concepts = list(csv.DictReader(file, delimiter="\t"))

    checksums = []
    for style, source in styles.items():
        path = options.output / f"{style}.tar"
        drawn = 0
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
            for concept in concepts:
                code = concept["codepoint"]
                drawing = source.drawing(code)
                if drawing is None:
                    continue
                drawn += 1
                entry = styles["noto"].entry(code)
                pixels = io.BytesIO()
                drawing.save(pixels, "WEBP", lossless=True, quality=100, method=6)
                meta = {
                    "concept": code,
                    "label": labels[code]["label"],
                    "category": concept["label"],
                    "plural": concept["plural"],
                    "kind": concept["category"],
                    "family": concept["family"],
                    "subset": concept["subset"],
                    "orientable": concept["orientable"] == "yes",
                    "tags": labels[code]["tags"],
                    "group": entry["category"],
                    "subgroup": entry["subcategory"],
                    "style": style,
                    "licence": LICENCES[style],
                    "source": PACKAGES[style],
                }
                add(archive, f"{code}.{style}.json", json.dumps(meta, ensure_ascii=False).encode())
                add(archive, f"{code}.{style}.webp", pixels.getvalue())
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        checksums.append(f"{digest}  {path.name}\n")
        print(f"{path.name}: {drawn} drawings, {path.stat().st_size / 1e6:.2f} MB")
    (options.output / "SHA256SUMS").write_text("".join(checksums))


if __name__ == "__main__":
    main()
