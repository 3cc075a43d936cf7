"""Loss curves of runs -> one SVG.

    python tools/photos/curves.py OUT.svg RUN [RUN ...]

Each RUN is a run's folder; its panel shows the terms in `metrics.jsonl`, as they are and as a mean over the last 10 steps.
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "deem"
import matplotlib.pyplot as plt

TERMS = {"loss/text": ("next token", "#3f6fb5"), "loss/image": ("next image", "#a06a1b"), "loss/feedback": ("feedback", "#3f7a4d")}


def main(out, runs):
    figure, axes = plt.subplots(1, len(runs), figsize=(4 * len(runs), 3), constrained_layout=True)
    for axis, run in zip([axes] if len(runs) == 1 else axes, runs):
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        axis.set_title(run.name)
        axis.set_xlabel("step")
        axis.set_yscale("log")
        for term, (name, colour) in TERMS.items():
            values = [line[term] for line in lines if term in line]
            if not values:
                continue
            means = [sum(values[max(0, i - 9) : i + 1]) / len(values[max(0, i - 9) : i + 1]) for i in range(len(values))]
            axis.plot(values, color=colour, alpha=0.25, linewidth=0.8)
            axis.plot(means, color=colour, linewidth=1.6, label=name)
        axis.legend(frameon=False)
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    main(sys.argv[1], [Path(run) for run in sys.argv[2:]])
