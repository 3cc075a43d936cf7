#!/usr/bin/env python3
"""Golden file of the scorers and statistics: crates/metrics/tests/golden/scorers.json.

Runs published tools on random and hostile predictions that are made here:

- VQA: the challenge's own normalisation and bookkeeping (`VQAEval`, as the wheel of salesforce-lavis carries it), with
  the order of steps of its current version: both sides are normalised, only where the annotators disagree
- GQA: its published rules, written here independently (accuracy, binary, open, consistency, distribution)
- NDCG: scikit-learn; Fréchet distance: SciPy's square root of the product; yes/no: scikit-learn
- McNemar's test and intervals clustered by picture, and by picture and seed: statsmodels

Needs: pip install numpy scipy scikit-learn statsmodels, and the wheel, not installed:

    pip download --no-deps salesforce-lavis==1.0.2
    python tools/parity/export_scorers.py salesforce_lavis-1.0.2-py3-none-any.whl
"""

import json
import random
import sys
import types
import zipfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import statsmodels.api as sm
from scipy.linalg import sqrtm
from sklearn import metrics
from statsmodels.stats.contingency_tables import mcnemar

OUTPUT = Path(__file__).resolve().parents[2] / "crates/metrics/tests/golden/scorers.json"

WORDS = "red blue yes no two 2 none a the an dog cat left right dont isnt it's well-known t-shirt 1,000 3.5 5:30 U.S.A. p.m. " \
        "somebody'd wouldnt've he'dve youre Im let's zero ten a.b (left) [x] black/white caf\u00e9 \u732b \U0001f600".split()
HOSTILE = [" ", "  ", "\n", "\t", ".", "..", ",", ", ", "-", " - ", "?", "!", "'", '"', "/", "\\", "_", "@", "`", ";", "\u00a0", "\u2003", "\u0130",
           "\u03a3", "\u00bd", "\u0663", ".\u0663", "1,2", ".5", "5.", "\x1c", "\u0085", "A", "The ", "NONE", "+", "=", "<b>", "{", "}"]


def text(rng):
    parts = []
    for _ in range(rng.choice([0, 1, 1, 1, 2, 2, 3, 5])):
        parts.append(rng.choice(WORDS) if rng.random() < 0.7 else rng.choice(HOSTILE))
        parts.append(rng.choice([" ", " ", " ", ""]))
    return "".join(parts)


def tool(wheel):
    """The challenge's class, without its package."""
    source = zipfile.ZipFile(wheel).read("lavis/common/vqa_tools/vqa_eval.py")
    module = types.ModuleType("vqa_eval")
    exec(compile(source, "vqa_eval.py", "exec"), module.__dict__)
    return module.VQAEval()


def vqa(rng, wheel):
    evaluation = tool(wheel)

    def clean(answer):
        return answer.replace("\n", " ").replace("\t", " ").strip()

    def normal(answer):
        return evaluation.processDigitArticle(evaluation.processPunctuation(answer))

    annotations, results = [], []
    overall, by_question, by_answer, single = [], defaultdict(list), defaultdict(list), []
    for number in range(240):
        pool = [text(rng) for _ in range(rng.choice([1, 1, 2, 3, 4]))]
        truths = [rng.choice(pool) for _ in range(10)]
        answer = rng.choice(pool + [text(rng)])
        annotations.append({
            "question_id": number, "image_id": number // 3, "question_type": rng.choice(["what", "is the", "none of the above"]),
            "answer_type": rng.choice(["yes/no", "number", "other"]),
            "answers": [{"answer": t, "answer_id": i + 1} for i, t in enumerate(truths)],
        })
        results.append({"question_id": number, "answer": answer})
        truths, answer = [clean(t) for t in truths], clean(answer)
        if len(set(truths)) > 1:
            truths, answer = [normal(t) for t in truths], normal(answer)
        credits = []
        for left_out in range(len(truths)):
            others = truths[:left_out] + truths[left_out + 1:]
            credits.append(min(1, float(len([t for t in others if t == answer])) / 3))
        value = float(sum(credits)) / len(credits)
        overall.append(value)
        by_question[annotations[-1]["question_type"]].append(value)
        by_answer[annotations[-1]["answer_type"]].append(value)
        single.append(value)
    evaluation.setAccuracy(overall, by_question, by_answer)
    normalized = [[t, normal(clean(t))] for t in [text(rng) for _ in range(400)]]
    return {"annotations": annotations, "results": results, "accuracy": evaluation.accuracy, "single": single, "normalized": normalized}


def gqa(rng):
    questions, predictions = {}, []
    answers = ["yes", "no", "dog", "red", "left"]
    for number in range(300):
        structural = rng.choice(["verify", "query", "choose", "logical", "compare"])
        questions[str(number)] = {
            "question": "?", "answer": rng.choice(answers), "imageId": f"n{number // 4}", "isBalanced": rng.random() < 0.7,
            "types": {"structural": structural, "semantic": rng.choice(["obj", "attr", "rel"]), "detailed": "x"},
            "groups": {"global": rng.choice([None, "colour", "animal"]), "local": "l"},
            "entailed": [str(rng.randrange(300)) for _ in range(rng.choice([0, 0, 1, 3]))],
        }
        predictions.append({"questionId": str(number), "prediction": rng.choice(answers)})
    said = {p["questionId"]: p["prediction"] for p in predictions}
    scores = defaultdict(list)
    gold, given = defaultdict(lambda: defaultdict(int)), defaultdict(lambda: defaultdict(int))
    for key, question in questions.items():
        right = said[key] == question["answer"]
        if question["isBalanced"]:
            scores["accuracy"].append(right)
            scores["open" if question["types"]["structural"] == "query" else "binary"].append(right)
            group = question["groups"]["global"]
            if group is not None:
                gold[group][question["answer"]] += 1
                given[group][said[key]] += 1
        entailed = [e for e in question["entailed"] if e != key]
        if right and entailed:
            scores["consistency"].append(np.mean([said[e] == questions[e]["answer"] for e in entailed]))
    total = weighted = 0
    for group, counts in gold.items():
        statistic = sum((given[group].get(a, 0) - e) ** 2 / e for a, e in counts.items())
        weighted += statistic * sum(counts.values())
        total += sum(counts.values())
    expected = {name: 100 * float(np.mean(values)) for name, values in scores.items()}
    return {"questions": questions, "predictions": predictions, "scores": expected | {"distribution": weighted / total}}


def ndcg(rng):
    cases = []
    for _ in range(60):
        size = rng.choice([2, 5, 20, 100])
        ranks = list(range(1, size + 1))
        rng.shuffle(ranks)
        relevance = [rng.choice([0, 0, 0, 0.2, 0.4, 0.6, 1.0]) for _ in range(size)]
        relevant = sum(r > 0 for r in relevance)
        if relevant:
            value = metrics.ndcg_score([relevance], [[-r for r in ranks]], k=relevant, ignore_ties=True)
            cases.append({"ranks": ranks, "relevance": relevance, "ndcg": float(value)})
    return cases


def rounded(features):
    return [[round(float(v), 3) for v in row] for row in features]


def frechet(seed):
    rng = np.random.default_rng(seed)
    cases = []
    for rows, width, rank in [(40, 3, 3), (60, 8, 8), (30, 12, 5), (9, 16, 16)]:
        mix = rng.normal(size=(rank, width))
        a = np.round(rng.normal(size=(rows, rank)) @ mix + rng.normal(size=width), 3).astype(np.float32)
        b = np.round(rng.normal(size=(rows + 7, rank)) @ mix * 1.3 + rng.normal(size=width), 3).astype(np.float32)
        x, y = a.astype(np.float64), b.astype(np.float64)
        mean = ((x.mean(0) - y.mean(0)) ** 2).sum()
        first, second = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
        # The trace of the root is the sum of the roots of the product's eigenvalues, also where sqrtm fails on singular ones.
        roots = np.sqrt(np.clip(np.linalg.eigvals(first @ second).real, 0, None)).sum()
        if rows > width and rank == width:
            assert abs(roots - np.trace(sqrtm(first @ second)).real) < 1e-6
        distance = mean + np.trace(first) + np.trace(second) - 2 * roots
        cases.append({"generated": rounded(a), "real": rounded(b), "distance": float(distance)})
    return cases


def yes_no(rng):
    truth = [rng.random() < 0.5 for _ in range(200)]
    answer = [t if rng.random() < 0.7 else not t for t in truth]
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(truth, answer, average="binary")
    return {
        "truth": truth, "answer": answer, "accuracy": metrics.accuracy_score(truth, answer), "precision": float(precision),
        "recall": float(recall), "f1": float(f1), "yes_ratio": sum(answer) / len(answer),
    }


def clustered(seed):
    """A mean by least squares on a constant, with its cluster-robust variance (statsmodels, without its correction for the
    number of regressors, which is n/(n-1) here)."""
    rng = np.random.default_rng(seed)
    cases = []
    for seeds, clusters in [(1, 12), (3, 20), (5, 30)]:
        of_seed, of_cluster = rng.normal(size=seeds), rng.normal(size=clusters)
        rows = [(s, c, q, round(0.2 + 0.3 * of_seed[s] + of_cluster[c] + rng.normal(), 4)) for s in range(seeds) for c in range(clusters) for q in range(3)]
        y = np.array([r[3] for r in rows])
        by_seed, by_cluster = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])

        def variance(groups):
            model = sm.OLS(y, np.ones_like(y)).fit(cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False})
            count = len(set(groups))
            return float(model.cov_params()[0, 0]) * count / (count - 1)

        both = by_seed * clusters + by_cluster
        total = variance(by_cluster)
        if seeds > 1:
            total = max(variance(by_cluster) + variance(by_seed) - variance(both), variance(by_cluster), variance(by_seed))
        cases.append({"rows": rows, "mean": float(y.mean()), "standard_error": float(np.sqrt(total))})
    return cases


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    rng = random.Random(20250211)
    pairs = [(0, 1), (1, 5), (3, 3), (12, 30), (200, 260), (0, 9)]
    golden = {
        "vqa": vqa(rng, sys.argv[1]),
        "gqa": gqa(rng),
        "ndcg": ndcg(rng),
        "frechet": frechet(7),
        "yes_no": yes_no(rng),
        "mcnemar": [[b, c, float(mcnemar([[0, b], [c, 0]], exact=True).pvalue)] for b, c in pairs],
        "clustered": clustered(11),
    }
    OUTPUT.write_text(json.dumps(golden, ensure_ascii=False) + "\n")
    print(f"{OUTPUT}: {golden['vqa']['accuracy']}, {golden['gqa']['scores']}")


if __name__ == "__main__":
    main()
