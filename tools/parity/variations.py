"""Golden files of configurations that are changed field by field, and of what a public library makes of each.

`NAME.safetensors` holds `SET.KEY` for each set of weights, what the caller adds, and `WORD.N`, the different outputs;
`NAME.json` the configuration of each set, and the cases: the set, what is changed in its configuration, and which output
the library computes then (null, if it refuses or has to make weights up).
"""

import json

import torch

from golden import GOLDEN, write


def changed(config, change):
    """A configuration with some fields changed; `...` takes one away."""
    config = json.loads(json.dumps(config))
    for field, value in change.items():
        if value is ...:
            config.pop(field, None)
        else:
            config[field] = value
    return config


class Variations:
    def __init__(self, word):
        self.word, self.tensors, self.configs, self.cases, self.known = word, {}, {}, [], []

    def keep(self, name, config, weights):
        """A set of weights with its configuration."""
        self.configs[name] = config
        self.tensors.update({f"{name}.{key}": value for key, value in weights.items()})

    def add(self, name, change, output):
        """A case; gives the number of its output among those that are kept."""
        absent = [field for field, value in change.items() if value is ...]
        given = {field: value for field, value in change.items() if value is not ...}
        number = self._place(output)
        self.cases.append({"set": name, "given": given, "absent": absent, self.word: number})
        return number

    def _place(self, output):
        if output is None or not torch.isfinite(output).all():
            return None
        for number, other in enumerate(self.known):
            if torch.equal(output, other):
                return number
        self.known.append(output)
        self.tensors[f"{self.word}.{len(self.known) - 1}"] = output
        return len(self.known) - 1

    def write(self, name):
        size = write(GOLDEN / name, self.tensors, {"configs": self.configs})
        lines = ",\n  ".join(json.dumps(case) for case in self.cases)
        text = json.dumps({"configs": self.configs})[:-1]
        path = (GOLDEN / name).with_suffix(".json")
        path.write_text(f'{text}, "cases": [\n  {lines}\n]}}\n')
        print(f"{name}: {len(self.cases)} cases, {len(self.known)} different results, {size} bytes")
