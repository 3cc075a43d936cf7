#!/usr/bin/env python3
"""Golden file of the caption metrics: crates/metrics/tests/golden/captions.json.

Runs the standard tools on captions that are made here: Stanford's PTBTokenizer, BLEU, ROUGE-L and CIDEr of
pycocoevalcap 1.2, and METEOR 1.5, once with exact and stem matches only and once with a small lexicon of our own.

Needs: pip install pycocoevalcap==1.2, and Java (tried with OpenJDK 17). Run from anywhere:

    python tools/parity/export_captions.py
"""

import gzip
import json
import random
import subprocess
import tempfile
from pathlib import Path

import pycocoevalcap
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider_scorer import CiderScorer
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

PACKAGE = Path(pycocoevalcap.__file__ or next(iter(pycocoevalcap.__path__)))
PACKAGE = PACKAGE.parent if PACKAGE.is_file() else PACKAGE
OUTPUT = Path(__file__).resolve().parents[2] / "crates/metrics/tests/golden/captions.json"

SYNSETS = {"dog": [1, 2], "hound": [2], "picture": [3], "photo": [3, 4], "image": [4], "child": [5], "kid": [5, 6], "couch": [7], "sofa": [7]}
EXCEPTIONS = {"child": ["children"]}
PARAPHRASES = [("next to", "beside"), ("beside", "next to"), ("a couple of", "two"), ("in front of", "before"), ("large", "big"), ("on top of", "on")]

HAND_WRITTEN = [
    ("The dog's bowl isn't full.", ["The dog's bowl is not full.", "A bowl that isn't full."]),
    ("Two T-shirts, one red & one blue, cost $5.50!", ["Two t-shirts cost 5.50 dollars.", "a red t-shirt and a blue t-shirt for $5.50"]),
    ("A man (in a hat) says \u201chello\u201d to Mr. Smith at 12:30 p.m.", ["Mr. Smith is greeted by a man in a hat.", "a man says hello"]),
    ("the the the the the", ["the cat is on the mat", "there is a cat on the mat"]),
    ("", ["a dog on the couch", "a hound sleeping on a sofa"]),
    ("A photo of two children beside a couch.", ["A picture of a couple of kids next to a sofa.", "an image of children"]),
    ("a couple of large dogs in front of the couch", ["two big hounds before the sofa", "dogs lying next to each other"]),
    ("I can't see what's there; it's too dark...", ["It cannot be seen: it's dark!", "a dark picture -- nothing is visible"]),
    ("The U.S. flag, half-raised, in St. John's.", ["A half-raised flag of the U.S.A.", "u.s. flag in st. john's"]),
    ("They're gonna jump, aren't they?!", ["they are going to jump", "Two people that're about to jump."]),
    ("1,000 runners in the '80s ran 3.5 km", ["A thousand runners ran 3.5 km in the 1980s", "1000 people running"]),
    ("A black-and-white cat and/or a grey kitten", ["A black and white cat.", "a cat or a kitten"]),
    ("sign: no. 5, vitamin c., approx. 50% off", ["a sign with the number 5", "No. 5 sign, 50 % off"]),
    ("o'clock o'clock rock'n'roll", ["rock 'n' roll at five o'clock", "it is five o'clock"]),
    ("dogs", ["a dog", "dog"]),
    ("A caf\u00e9\u2019s caf\u00e9 \u2014 na\u00efve!", ["a naive cafe", "a caf\u00e9's sign"]),
]

OBJECTS = "apple dog cat bus boat tree house flower bicycle umbrella child hound cake fish guitar".split()
PLURALS = "apples dogs cats buses boats trees houses flowers bicycles umbrellas children hounds cakes fish guitars".split()
COLOURS = "red blue green yellow small large big old wooden".split()
RELATIONS = ["above", "next to", "beside", "in front of", "to the left of", "on top of", "below", "near"]
NUMBERS = "two three four five".split()
ACTIONS = ["is standing", "stands", "was seen", "is running", "runs", "sits", "is sitting"]


def phrase(rng, kind):
    if rng.random() < 0.35:
        return f"{rng.choice(NUMBERS)} {rng.choice(COLOURS)} {PLURALS[kind]}"
    return f"{rng.choice(['a', 'the', 'one'])} {rng.choice(COLOURS) + ' ' if rng.random() < 0.6 else ''}{OBJECTS[kind]}"


def caption(rng, first, second):
    text = f"{phrase(rng, first)} {rng.choice(RELATIONS)} {phrase(rng, second)}"
    if rng.random() < 0.4:
        text = f"{phrase(rng, first)} {rng.choice(ACTIONS)} {rng.choice(RELATIONS)} {phrase(rng, second)}"
    if rng.random() < 0.3:
        text = f"{rng.choice(['a photo of', 'a picture of', 'there is', 'an image of'])} {text}"
    return text[0].upper() + text[1:] + rng.choice([".", "", "."])


def samples():
    rng = random.Random(20240807)
    result = [{"candidate": c, "references": r} for c, r in HAND_WRITTEN]
    for _ in range(48):
        first, second = rng.randrange(len(OBJECTS)), rng.randrange(len(OBJECTS))
        references = [caption(rng, first, second) for _ in range(rng.randint(1, 5))]
        candidate = caption(rng, first, second) if rng.random() < 0.8 else rng.choice(references)
        result.append({"candidate": candidate, "references": references})
    return result


def tokenize(texts):
    done = PTBTokenizer().tokenize({i: [{"caption": t}] for i, t in enumerate(texts)})
    return [done[i][0] for i in range(len(texts))]


def java(lines, *options):
    command = ["java", "-Xmx2G", "-jar", str(PACKAGE / "meteor/meteor-1.5.jar"), "-", "-", "-stdio", "-l", "en", "-norm", *options]
    out = subprocess.run(command, input="".join(line + "\n" for line in lines), capture_output=True, text=True, check=True)
    return out.stdout.strip().split("\n")


def meteor(candidates, references, *options):
    """Score of each caption and of the corpus."""
    scored = java([" ||| ".join(["SCORE", *refs, cand]) for cand, refs in zip(candidates, references)], *options)
    out = java([" ||| ".join(["EVAL", *scored])], *options)
    return [float(v) for v in out[:-1]], float(out[-1])


def lexicon(directory):
    (directory / "english.synsets").write_text("".join(f"{w}\n{' '.join(f'{i:08}' for i in s)}\n" for w, s in sorted(SYNSETS.items())))
    (directory / "english.exceptions").write_text("".join(f"{w}\n{' '.join(f)}\n" for w, f in sorted(EXCEPTIONS.items())))
    (directory / "english.relations").write_text("")
    table = "".join(f"0.5\n{a}\n{b}\n" for a, b in PARAPHRASES)
    with gzip.open(directory / "paraphrase.gz", "wt") as file:
        file.write(table)
    return table


def main():
    data = samples()
    tokens = iter(tokenize([text for s in data for text in [s["candidate"], *s["references"]]]))
    both = [[next(tokens) for _ in [0, *s["references"]]] for s in data]
    candidates, references = [b[0] for b in both], [b[1:] for b in both]

    bleu, cider = BleuScorer(n=4), CiderScorer(n=4)
    for cand, refs in zip(candidates, references):
        bleu += (cand, refs)
        cider += (cand, refs)
    bleu_corpus, bleu_samples = bleu.compute_score(option="closest")
    cider_corpus, cider_samples = cider.compute_score()
    rouge = [Rouge().calc_score([c], r) for c, r in zip(candidates, references)]
    plain = meteor(candidates, references, "-m", "exact stem")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        table = lexicon(directory)
        rich = meteor(
            candidates, references, "-m", "exact stem synonym paraphrase", "-d", name, "-a", f"{name}/paraphrase.gz"
        )
        synsets = (directory / "english.synsets").read_text()
        exceptions = (directory / "english.exceptions").read_text()

    for i, sample in enumerate(data):
        sample |= {
            "candidate_tokens": candidates[i],
            "reference_tokens": references[i],
            "bleu": [bleu_samples[n][i] for n in range(4)],
            "rouge_l": rouge[i],
            "cider": float(cider_samples[i]),
            "meteor": plain[0][i],
            "meteor_lexicon": rich[0][i],
        }
    corpus = {
        "bleu": bleu_corpus,
        "rouge_l": sum(rouge) / len(rouge),
        "cider": float(cider_corpus),
        "meteor": plain[1],
        "meteor_lexicon": rich[1],
    }
    golden = {"corpus": corpus, "synsets": synsets, "exceptions": exceptions, "paraphrases": table, "samples": data}
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")
    print(f"{OUTPUT}: {len(data)} captions, {corpus}")


if __name__ == "__main__":
    main()
