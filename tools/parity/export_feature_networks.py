"""Golden files of the networks whose features of pictures are compared, and of what they see of a picture.

- crates/model/tests/golden/inception.*: pytorch-fid's `InceptionV3`, its last average
- crates/model/tests/golden/efficientnet_lite0.*: efficientnet-lite-pytorch's `EfficientNet`, before the classifier
- crates/data/tests/golden/pictures/published_views.json: `interpolate` as pytorch-fid calls it, and torchvision's
  `Resize` and `CenterCrop`

The networks are of full size. Their weights are not in the files: both sides make them of the keys, see `generated`.

Needs: pip install torch==2.15.0 torchvision==0.29.2 pytorch-fid==0.3.0 efficientnet-lite-pytorch==0.1.0 safetensors
pillow==13.0.0 numpy. Run from anywhere:

    python tools/parity/export_feature_networks.py

With `--weights FOLDER` it writes the generated weights there instead, as `torch.save` does, to try `deem score frechet` with.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pytorch_fid.inception
import torch
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from pytorch_fid.inception import InceptionV3
from torchvision import transforms

from golden import GOLDEN, LIMIT, write

PICTURES = Path(__file__).resolve().parents[2] / "crates/data/tests/golden/pictures"


def noise(key, count):
    """Numbers in [-1, 1) that follow from a key: a hash of their position."""
    seed = 0
    for byte in key.encode():
        seed = (seed * 31 + byte) % 2**32
    x = (np.arange(count, dtype=np.uint64) * 2654435761 + seed) % 2**32
    for shift, factor in ((15, 2246822519), (13, 3266489917)):
        x = (x ^ (x >> shift)) * factor % 2**32
    x ^= x >> 16
    return x.astype(np.float64) / 2**31 - 1


def generated(shapes):
    """Weights under the given keys, for activations that neither vanish nor explode."""
    weights = {}
    for key, shape in shapes.items():
        if key.endswith("num_batches_tracked"):
            weights[key] = torch.tensor(0)
            continue
        x = noise(key, int(np.prod(shape)))
        if key.endswith("running_var"):
            x = 1 + 0.5 * x
        elif len(shape) > 1:
            x = x * np.sqrt(6 / np.prod(shape[1:]))
        elif key.endswith("weight"):
            x = 1 + 0.3 * x
        else:
            x = 0.2 * x
        weights[key] = torch.from_numpy(x.astype(np.float32).reshape(shape))
    return weights


def inception():
    """The network as pytorch-fid builds it, which would download its weights, and those weights."""
    own = pytorch_fid.inception._inception_v3(num_classes=1008, aux_logits=False, weights=None)
    weights = generated({key: tuple(value.shape) for key, value in own.state_dict().items()})
    pytorch_fid.inception.load_state_dict_from_url = lambda *_, **__: weights
    return InceptionV3(resize_input=False).eval(), weights


def lite0():
    network = EfficientNet.from_name("efficientnet-lite0").eval()
    weights = generated({key: tuple(value.shape) for key, value in network.state_dict().items()})
    network.load_state_dict(weights)
    return network, weights


def patches(height, width):
    """Two pictures of patches of 16 pixels, in [0, 1]: `[2, 3, height, width]` colours, and the pixels."""
    colours = torch.from_numpy(noise("pixels", 6 * height * width).reshape(2, 3, height, width)) / 2 + 0.5
    colours = colours.float().double()
    return colours, colours.repeat_interleave(16, 2).repeat_interleave(16, 3)


def export(name, weights, patches, features):
    tensors = {"input.patches": patches, "output.features": features}
    shapes = {key: list(value.shape) for key, value in weights.items()}
    size = write(GOLDEN / name, tensors, {"shapes": shapes})
    spread = (features.std(0).mean() / features.abs().mean()).item()
    print(f"{name}: {size} bytes, mean {features.mean():.3f}, pictures differ by {spread:.2f} of it")
    assert size < LIMIT


def views():
    """What pytorch-fid and torchvision make of two pictures that are there already."""
    found = []
    for file, side in (("sharp-1.png", 9), ("sharp-2.png", 36)):
        pixels = transforms.ToTensor()(Image.open(PICTURES / file))[None]
        view = torch.nn.functional.interpolate(pixels, size=(side, side), mode="bilinear", align_corners=False)
        found.append({"file": file, "side": side, "interpolated": [round(v, 6) for v in view.flatten().tolist()]})
    for file, side in (("sharp-0.png", 24), ("sharp-1.png", 33)):
        cut = transforms.Compose([transforms.Resize(side), transforms.CenterCrop(side)])
        planes = np.asarray(cut(Image.open(PICTURES / file))).transpose(2, 0, 1)
        found.append({"file": file, "side": side, "resized_centre": planes.flatten().tolist()})
    (PICTURES / "published_views.json").write_text(json.dumps(found) + "\n")


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, help="write the generated weights into this folder instead")
    folder = parser.parse_args().weights
    (large, large_weights), (small, small_weights) = inception(), lite0()
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(large_weights, folder / "inception.pth")
        torch.save(small_weights, folder / "efficientnet-lite0.pth")
        return
    colours, pixels = patches(9, 11)
    export("inception", large_weights, colours, large.double()(pixels)[0].flatten(1))
    # Padding is laid out for maps of even sides.
    colours, pixels = patches(4, 6)
    export("efficientnet_lite0", small_weights, colours, small.double().extract_features(pixels).mean((2, 3)))
    views()


if __name__ == "__main__":
    main()
