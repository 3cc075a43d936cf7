#!/usr/bin/env python3
"""Golden file of hostile captions: crates/metrics/tests/golden/hostile_captions.json.

Random captions of words, clitics, numbers, abbreviations, addresses, punctuation of all kinds, letters of other scripts and
nothing at all, glued together with and without spaces. Stanford's PTBTokenizer cuts them, and BLEU, ROUGE-L and CIDEr of
pycocoevalcap 1.2 score small sets of them: what `deem score captions` must equal to 1e-3.

Needs: pip install pycocoevalcap==1.2, and Java (tried with OpenJDK 17). Run from anywhere:

    python tools/parity/export_hostile_captions.py
"""

import json
import random
from pathlib import Path

from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider_scorer import CiderScorer
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

OUTPUT = Path(__file__).resolve().parents[2] / "crates/metrics/tests/golden/hostile_captions.json"
SETS, IMAGES = 40, 12

WORDS = """a the man dog cat is on in of with red two street riding surfboard wave tennis racket holding people standing next
    to large white black table plate food train bus sitting field A The Man New York UK TV NYC iPhone""".split()
CLITICS = """isn't can't won't don't he's they're I've we'll she'd dog's dogs' man's cannot gonna gotta wanna gimme lemme o'clock
    rock'n'roll 'tis 'twas y'all ma'am ain't it's let's 'em 'n' couldn't've who's that'll what're ISN'T '90s 80's 1980s goin'
    O'Brien McDonald's Hawai'i L'Oreal women\u2019s isn\u2019t \u2018hello\u2019 \u201chello\u201d ' 's n't""".split()
NUMBERS = """1 2 10 1,000 3.5 12:30 5:00pm 10am 50% $5 $5.50 \u20ac10 \u00a35 1/2 2nd 1st #1 #hashtag @user 1-2 10-15 2x4 99.9% 1.5L
    20\u00b0 -5 +3 1,2,3 3D 7-Eleven 24/7 9/11 2014-05-06 05/06/2014 555-1234 1990's 0.5 \u00bd 1. 1.2.3 100km 5ft U2 R2-D2""".split()
MARKS = """. , ! ? ; : - -- --- ... .... .. \u2026 \u2014 \u2013 ( ) [ ] { } " '' `` ` / \\ & * ** % $ # @ + = < > | ~ ^ _ ?! !! !!! .,
    :) ;) <3 -> \u2022 \u00a9 \u2122 \u00d7""".split()
LETTERS = """caf\u00e9 na\u00efve \u732b \u72ac\u304c\u8d70\u308b \u043a\u043e\u0448\u043a\u0430 \u0627\u0644\u0642\u0637 \U0001f600 \u2764
    \u00fcber \u00c9cole stra\u00dfe \uff21\uff22 \ufb01sh \u0e41\u0e21\u0e27 \u05d7\u05ea\u05d5\u05dc \ud55c\uad6d""".split()
OTHERS = """http://www.example.com/a?b=c www.foo.com foo.com user@example.com e.g. i.e. etc. etc vs. p.m. a.m. U.S.A. N.Y. St. Ave.
    Jr. Inc. Ph.D. No. Mt. Dec. and/or his/her s/he w/ w/o black-and-white t-shirt T-shirt x-ray mother-in-law 3-year-old
    a.k.a. D.C. J. file.txt &amp; &lt;b&gt; <b>bold</b> <unk> C++ R&B AT&T rock&roll stop.sign end.Start hi,there yes!no
    (parenthetical) [sic] "quoted" 'quoted' dr. Mr. -lrb- US$5 5 'til 'cause ol' I'm i'm""".split()
KINDS = [(WORDS, 48), (CLITICS, 14), (NUMBERS, 12), (MARKS, 10), (LETTERS, 6), (OTHERS, 10)]


def caption(rng):
    text = ""
    for _ in range(rng.choice([0, 1, 3, 5, 6, 7, 8, 9])):
        (kind,) = rng.choices([k for k, _ in KINDS], [w for _, w in KINDS])
        text += rng.choice(kind) + ("" if rng.random() < 0.1 else " ")
    return text.rstrip() + "." if rng.random() < 0.4 else text


def changed(rng, text):
    """A caption of the same picture: some of its words, in another order."""
    words = [w for w in text.split(" ") if rng.random() < 0.8]
    if rng.random() < 0.3:
        rng.shuffle(words)
    return " ".join(words + ([caption(rng)] if rng.random() < 0.3 else []))


def main():
    rng = random.Random(20250212)
    sets = []
    for _ in range(SETS):
        images = []
        for _ in range(IMAGES):
            candidate = caption(rng)
            images.append([candidate, [changed(rng, candidate) for _ in range(rng.randint(1, 5))]])
        sets.append(images)
    texts = [text for images in sets for candidate, references in images for text in [candidate, *references]]
    done = PTBTokenizer().tokenize({i: [{"caption": t}] for i, t in enumerate(texts)})
    assert len(done) == len(texts), "a text broke a line"
    tokens = iter(done[i][0] for i in range(len(texts)))
    golden = []
    for images in sets:
        cut = [[next(tokens), [next(tokens) for _ in references]] for _, references in images]
        bleu, cider = BleuScorer(n=4), CiderScorer(n=4)
        for candidate, references in cut:
            bleu += (candidate, references)
            cider += (candidate, references)
        scores, _ = bleu.compute_score(option="closest")
        rouge = [Rouge().calc_score([candidate], references) for candidate, references in cut]
        golden.append({
            "images": [[*image, *tokens] for image, tokens in zip(images, cut)],
            "Bleu": scores, "ROUGE_L": sum(rouge) / len(rouge), "CIDEr": float(cider.compute_score()[0]),
        })
    OUTPUT.write_text(json.dumps(golden, ensure_ascii=False) + "\n")
    print(f"{OUTPUT}: {len(golden)} sets, {len(texts)} captions")


if __name__ == "__main__":
    main()
