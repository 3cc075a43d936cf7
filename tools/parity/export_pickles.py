"""Writes tiny files of torch.save, in both containers, and safetensors with the same numbers.

    python tools/parity/export_pickles.py crates/model/tests/golden
"""

import collections
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file


def state_dict():
    """Every dtype, views with strides and offsets, a parameter, shared and empty storages."""
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6) / 8 - 1
    shared = torch.tensor([1.5, -2.0, 0.25])
    return collections.OrderedDict(
        [
            ("plain", base),
            ("transposed", base.t()),
            ("part", base[1:3, 2:5]),
            ("expanded", shared[:1].expand(3)),
            ("shared.a", shared),
            ("shared.b", shared),
            ("half", shared.half()),
            ("brain", shared.bfloat16()),
            ("double", shared.double()),
            ("long", torch.tensor([-(2**40), 7])),
            ("int", torch.tensor([-5], dtype=torch.int32)),
            ("byte", torch.tensor([0, 255], dtype=torch.uint8)),
            ("bool", torch.tensor([True, False, True])),
            ("scalar", torch.tensor(3.5)),
            ("empty", torch.zeros(0, 4)),
            ("parameter", torch.nn.Parameter(torch.ones(2))),
        ]
    )


def main(folder):
    state = state_dict()
    # Modules' dictionaries carry attributes; so must this one.
    state._metadata = collections.OrderedDict([("", {"version": 1})])
    torch.save(state, folder / "pickle_zip.pt")
    torch.save(state, folder / "pickle_legacy.pt", _use_new_zipfile_serialization=False)
    torch.save({"state_dict": dict(state), "epoch": 3, "lr": 0.5, "names": ["a"]}, folder / "pickle_wrapped.pt")
    contiguous = {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}
    save_file(contiguous, folder / "pickle.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
