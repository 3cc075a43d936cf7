"""Writes tiny files of torch.save, in both containers, and safetensors with the same numbers.

    python tools/parity/export_pickles.py crates/model/tests/golden
"""

import argparse
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


def export_others(state, folder):
    """What training programs save beside weights, and around them."""
    weights = collections.OrderedDict((name, state[name]) for name in ("plain", "half"))
    beside = {
        "args": argparse.Namespace(lr=0.1, name="x"),
        "size": torch.Size([2, 3]),
        "device": torch.device("cpu"),
        "dtype": torch.bfloat16,
        "counts": {"seen": {1, 2}, 3: "three"},
        "names": ["a", None],
    }
    torch.save(weights | beside, folder / "pickle_beside.pt")
    # The generator's state is a tensor, too, but not among the weights.
    around = {"module": {"net": dict(weights)}, "rng": torch.get_rng_state()[:8], "optimizer": {}}
    torch.save(around, folder / "pickle_trainer.pt")
    parameter = torch.nn.Parameter(state["plain"])
    parameter.note = "kept by PyTorch"
    torch.save({"params_ema": {"plain": parameter}}, folder / "pickle_parameter.pt")


def main(folder):
    state = state_dict()
    # Modules' dictionaries carry attributes; so must this one.
    state._metadata = collections.OrderedDict([("", {"version": 1})])
    torch.save(state, folder / "pickle_zip.pt")
    torch.save(state, folder / "pickle_legacy.pt", _use_new_zipfile_serialization=False)
    torch.save({"state_dict": dict(state), "epoch": 3, "lr": 0.5, "names": ["a"]}, folder / "pickle_wrapped.pt")
    export_others(state, folder)
    contiguous = {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}
    save_file(contiguous, folder / "pickle.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
