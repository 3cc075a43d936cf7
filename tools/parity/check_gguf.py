"""Compares a GGUF language model in deem with PyTorch, the `gguf` package and a byte-pair encoder of its own.

    python tools/parity/check_gguf.py weights/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf [--deem target/release/deem]

Reports, and ends with status 1 if a bound is broken:

- tensors: every one that `deem convert` writes equals what the package unpacks, bit by bit;
- ids: varied texts become the same ids under the converted tokenizer.json;
- NLL: nats per token of an English text, from the logits of `deem probe llama` on the GGUF file itself, and from
  transformers' LlamaForCausalLM in single precision; bound 1e-3.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from gguf_reference import Gguf

ENGLISH = """\
The ferry left the harbour a little after six, when the fog still lay on the water and the gulls had not yet begun to
quarrel over the nets. Martha stood at the rail with her hands in the pockets of her father's coat and counted the
lights on the shore until there were none. She had made the crossing many times as a child, always in summer, always
asleep before the lighthouse; now it was November and she was the only passenger. The captain, a quiet man who had
known her family for thirty years, brought her a cup of tea and asked whether she meant to stay on the island. She said
that she did not know. The house had to be sold, there were letters to answer, and somebody had to look after the old
dog. He nodded as if that were an answer. Behind them the engine hummed, and a thin line of grey light grew in the east.
By the time they passed the rocks the fog had lifted, and she could see the roof of the school, the church with its
crooked tower, and, at the end of the road, a window in which a lamp was burning. Nobody had told her that anyone would
be waiting for her."""

TEXTS = [
    ENGLISH,
    "",
    " ",
    "\n\n\t  tabs and   spaces \n",
    "In 2024 the price rose by 3.75 % to $1,234,567.89 (½ of 2²).",
    "It's what they'll say; we'd've gone, wouldn't we? I'M SURE. DON'T!",
    "Grüße aus Köln, naïve café, crème brûlée; Ελληνικά, Русский, עברית, العربية.",
    "日本語のテキストと中文，한국어도。 ไทย हिन्दी",
    "🐈‍⬛👩🏽‍🚀 🇩🇪 emoji ☕️",
    "def f(x):\n    return {k: v**2 for k, v in x.items()}  # comment\n\n\nprint(f({'a': 1}))",
    "https://example.org/a?b=c&d=%20e#f user@example.org <html><br/></html>",
    "ͻ\u0301 e\u0301 ﬁ \u200b zero\u00a0width",
    "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 1111111111 !!!!!!!!!! \x00\x01",
]


def nats(logits, ids):
    """Mean negative log-likelihood of every token after the first."""
    chances = torch.log_softmax(logits[0, :-1].double(), -1)
    return -chances.gather(1, ids[0, 1:, None]).mean().item()


def tensors(file, converted):
    """How many tensors differ from the package's in any bit."""
    state = file.model().state_dict()
    found = load_file(converted / "model.safetensors")
    missing = set(state) - set(found) - {"lm_head.weight"}
    different = [key for key, value in found.items() if not torch.equal(value.float(), state[key])]
    return len(found), sorted(missing) + different


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--deem", default="target/release/deem")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    file = Gguf(args.file)
    encoder = file.encoder()
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        subprocess.run([args.deem, "convert", args.file, folder / "hf"], check=True, stdout=subprocess.DEVNULL)

        count, different = tensors(file, folder / "hf")
        print(f"tensors: {count}, of which {len(different)} differ {different[:3]}")
        failed |= bool(different)

        tokenizer = Tokenizer.from_file(str(folder / "hf" / "tokenizer.json"))
        wrong = [text for text in TEXTS if tokenizer.encode(text).ids != encoder.encode(text)]
        wrong += [text for text in TEXTS[:-2] if tokenizer.decode(encoder.encode(text)) != text]
        total = sum(len(encoder.encode(text)) for text in TEXTS)
        print(f"texts: {len(TEXTS)} ({total} ids), of which {len(wrong)} differ {wrong[:3]}")
        failed |= bool(wrong)

        (folder / "config.json").write_text(json.dumps(file.config()))
        model = file.model()
        for name, text in [("English", ENGLISH), ("the same words backwards", " ".join(ENGLISH.split()[::-1]))]:
            ids = torch.tensor([encoder.encode(text.replace("\n", " "))])
            save_file({"input_ids": ids}, folder / "inputs.safetensors")
            probe = ["probe", "llama", "--config", folder / "config.json", "--weights", args.file]
            probe += ["--inputs", folder / "inputs.safetensors", "--outputs", folder / "outputs.safetensors"]
            subprocess.run([args.deem, *probe], check=True)
            own = load_file(folder / "outputs.safetensors")["logits"]
            with torch.no_grad():
                expected = model(input_ids=ids).logits
            apart = (own - expected).norm() / expected.norm()
            found, reference = nats(own, ids), nats(expected, ids)
            print(
                f"NLL of {name} ({len(text.split())} words, {ids.shape[1]} tokens): deem {found:.6f}, "
                f"PyTorch {reference:.6f}, difference {abs(found - reference):.1e}; logits {apart:.1e}"
            )
            failed |= not abs(found - reference) < 1e-3
    sys.exit(failed)


if __name__ == "__main__":
    main()
