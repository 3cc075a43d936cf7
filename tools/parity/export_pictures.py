#!/usr/bin/env python3
"""Golden files of decoding and resampling: crates/data/tests/golden/pictures.

Small pictures of every kind that Pillow reads, each beside what `ImageOps.exif_transpose` and `convert("RGB")` make of it
(NAME.ref.png), and squares cut by `resize(…, BICUBIC, box)`. pictures.json lists both.

Needs: pip install pillow==13.0.0 numpy. Run from anywhere:

    python tools/parity/export_pictures.py
"""

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

OUTPUT = Path(__file__).resolve().parents[2] / "crates/data/tests/golden/pictures"


def smooth(width, height, channels=3):
    """Colours without sharp edges, so that lossy decoders can agree."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin((x * (k + 1) + y * (k + 2)) / (9 + k)) for k in range(channels)]
    return np.stack([(120 + 100 * w).round().clip(0, 255) for w in waves], -1).astype(np.uint8)


def sharp(width, height):
    """Checks, lines and noise: what makes bicubic filters ring."""
    noise = np.random.default_rng(7).integers(0, 256, (height, width, 3))
    y, x = np.mgrid[0:height, 0:width]
    checks = ((x // 5 + y // 3) % 2 * 255)[..., None].repeat(3, -1)
    return np.where((x > width // 2)[..., None], checks, noise).astype(np.uint8)


def encoded(image, form, **options):
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def without_adobe(jpeg):
    """The same JPEG without its APP14 block: plain instead of inverted inks."""
    at = jpeg.index(b"\xff\xee")
    length = int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return jpeg[:at] + jpeg[at + 2 + length :]


def cases():
    rgb = Image.fromarray(smooth(40, 24))
    rgba = Image.fromarray(np.dstack([smooth(40, 24), smooth(40, 24, 4)[..., 3]]))
    yield "jpeg-444.jpg", encoded(rgb, "JPEG", quality=95, subsampling=0)
    yield "jpeg-420.jpg", encoded(rgb, "JPEG", quality=95, subsampling=2)
    yield "jpeg-progressive.jpg", encoded(rgb, "JPEG", quality=95, subsampling=0, progressive=True)
    yield "jpeg-grey.jpg", encoded(rgb.convert("L"), "JPEG", quality=95)
    inks = Image.fromarray(smooth(40, 24, 4), "CMYK")
    adobe = encoded(inks, "JPEG", quality=95)
    yield "jpeg-cmyk-adobe.jpg", adobe
    yield "jpeg-cmyk.jpg", without_adobe(adobe)
    for turn in range(1, 9):
        yield f"exif-{turn}.jpg", encoded(rgb, "JPEG", quality=95, subsampling=0, exif=turned(turn))
    yield "exif-6.png", encoded(rgb, "PNG", exif=turned(6))
    yield "exif-6.webp", encoded(rgb, "WEBP", lossless=True, exif=turned(6))
    yield "png-rgb.png", encoded(rgb, "PNG")
    yield "png-rgba.png", encoded(rgba, "PNG")
    yield "png-grey.png", encoded(rgb.convert("L"), "PNG")
    yield "png-grey-alpha.png", encoded(rgba.convert("LA"), "PNG")
    yield "png-one-bit.png", encoded(rgb.convert("1"), "PNG")
    palette = rgb.quantize(17)
    yield "png-palette.png", encoded(palette, "PNG")
    yield "png-palette-transparent.png", encoded(palette, "PNG", transparency=3)
    yield "png-palette-translucent.png", encoded(palette, "PNG", transparency=bytes(range(0, 255, 15)))
    yield "bmp.bmp", encoded(rgb, "BMP")
    for kind in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        yield f"tiff-{kind}.tif", encoded(rgb, "TIFF", compression=kind)
    yield "tiff-grey.tif", encoded(rgb.convert("L"), "TIFF")
    yield "tiff-one-bit.tif", encoded(rgb.convert("1"), "TIFF")
    yield "tiff-rgba.tif", encoded(rgba, "TIFF")
    yield "tiff-pages.tiff", encoded(rgb, "TIFF", save_all=True, append_images=[rgb.rotate(180)])
    yield "exif-6.tif", encoded(rgb, "TIFF", exif=turned(6))
    yield "colours.ppm", encoded(rgb, "PPM")
    yield "grey.pgm", encoded(rgb.convert("L"), "PPM")
    yield "one-bit.pbm", encoded(rgb.convert("1"), "PPM")
    yield "plain.ppm", b"P3 2 1 15\n0 15 3 8 0 1\n"
    yield "png-inside.ico", encoded(rgba, "ICO", sizes=[(16, 9), (40, 24)])
    yield "png-opaque-inside.ico", encoded(rgb, "ICO", sizes=[(40, 24)])
    yield "bmp-inside.ico", encoded(rgba, "ICO", sizes=[(40, 24)], bitmap_format="bmp")
    yield "colours.tga", encoded(rgb, "TGA")
    yield "packed.tga", encoded(rgb.quantize(7).convert("RGB"), "TGA", compression="tga_rle")
    yield "palette.tga", encoded(palette, "TGA")
    yield "rgba.tga", encoded(rgba, "TGA")
    yield "colours.qoi", encoded(rgb, "QOI")
    yield "rgba.qoi", encoded(rgba, "QOI")
    yield "gif.gif", encoded(rgb.quantize(32), "GIF")
    yield "gif-transparent.gif", encoded(palette, "GIF", transparency=3)
    frames = [Image.fromarray(np.roll(smooth(40, 24), k * 5, 1)) for k in range(3)]
    yield "gif-animated.gif", encoded(frames[0].quantize(32), "GIF", save_all=True, append_images=[f.quantize(32) for f in frames[1:]])
    yield "webp-lossless.webp", encoded(rgba, "WEBP", lossless=True, exact=True)
    yield "webp-lossy.webp", encoded(rgb, "WEBP", quality=95)
    yield "webp-animated.webp", encoded(frames[0], "WEBP", lossless=True, save_all=True, append_images=frames[1:])
    yield "png-animated.png", encoded(frames[0], "PNG", save_all=True, append_images=frames[1:])


def deep_cases():
    """16 bits a channel, which Pillow does not write: chunks by hand. Pillow cuts deep grey off at 255 (older versions) or
    keeps its upper byte, so that its reference is the upper byte here."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for name, kind, channels in (("png-16-grey", 0, 1), ("png-16-rgb", 2, 3), ("png-16-rgba", 6, 4)):
        upper = smooth(20, 12, channels).astype(np.uint16)
        deep = (upper << 8) + np.random.default_rng(1).integers(0, 256, upper.shape, dtype=np.uint16)
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
        png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 20, 12, 16, kind, 0, 0, 0))
        png += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
        reference = upper[..., :3].astype(np.uint8)
        yield f"{name}.png", png, Image.fromarray(reference.repeat(3, -1) if channels == 1 else reference)


def write(name, image):
    (OUTPUT / name).write_bytes(encoded(image, "PNG", optimize=True))
    return name


def main():
    OUTPUT.mkdir(parents=True, exist_ok=True)
    decoded = []
    for name, data in cases():
        (OUTPUT / name).write_bytes(data)
        image = Image.open(io.BytesIO(data))
        image = ImageOps.exif_transpose(image).convert("RGB")
        decoded.append({"file": name, "reference": write(f"{name}.ref.png", image)})
    for name, data, reference in deep_cases():
        (OUTPUT / name).write_bytes(data)
        pillow = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
        print(name, "Pillow differs by at most", np.abs(pillow - np.asarray(reference)).max())
        decoded.append({"file": name, "reference": write(f"{name}.ref.png", reference)})

    squares = []
    for number, (width, height) in enumerate([(61, 47), (48, 72), (33, 33)]):
        image = Image.fromarray(sharp(width, height))
        file = write(f"sharp-{number}.png", image)
        short = min(width, height)
        left, top = (width - short) / 2, (height - short) / 2
        for crop, box in (("center", (left, top, left + short, top + short)), ("squeeze", (0, 0, width, height))):
            for side in (8, 24, 33, 70):
                square = image.resize((side, side), Image.Resampling.BICUBIC, box)
                name = write(f"sharp-{number}-{crop}-{side}.ref.png", square)
                squares.append({"file": file, "crop": crop, "side": side, "reference": name})
    # The usual preprocessing, where its sizes are whole: the shorter side, then the centre.
    image = Image.fromarray(sharp(96, 64))
    square = ImageOps.fit(image.resize((48, 32), Image.Resampling.BICUBIC), (32, 32))
    squares.append({"file": write("sharp-3.png", image), "crop": "center", "side": 32, "reference": write("sharp-3-usual.ref.png", square)})

    (OUTPUT / "pictures.json").write_text(json.dumps({"decoded": decoded, "squares": squares}, indent=1) + "\n")
    print(len(decoded), "decoded,", len(squares), "squares,", sum(f.stat().st_size for f in OUTPUT.iterdir()), "bytes")


if __name__ == "__main__":
    main()
