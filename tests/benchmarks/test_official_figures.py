"""Every figure of ../shared/data/**/expected.json, which the official scorers produced, is ours to the last digit."""

from __future__ import annotations

import json

import pytest

from lvlm_saliency.benchmarks import amber, chair, mme, pope
from lvlm_saliency.files.records import read_rows
from lvlm_saliency.stats.bootstrap import Bootstrap

NO_INTERVALS = Bootstrap(resamples=0)

CHAIR = {
    "n_captions": "captions",
    "n_hallucinated_captions": "hallucinated_captions",
    "n_hallucinated_mentions": "hallucinated_mentions",
    "n_object_mentions": "mentions",
    "n_gt_objects": "truth_objects",
    "n_recalled_gt_objects": "recalled_objects",
    "CHAIR_s": "CHAIR_s",
    "CHAIR_i": "CHAIR_i",
    "recall": "recall",
    "avg_len_tokens": "length",
}
PER_CAPTION = {
    "image_id": "image_id",
    "n_tokens": "tokens",
    "mscoco_words": "words",
    "node_words": "node_words",
    "token_index": "token_index",
    "hallucinated": "hallucinated",
    "recalled_gt": "recalled",
    "CHAIR_s": "CHAIR_s",
    "CHAIR_i": "CHAIR_i",
    "recall": "recall",
}
CAPTIONS = ["captions_llava15_greedy.jsonl", "captions_llava15_beam5.jsonl"]


def renamed(official, names):
    return {ours: official[theirs] for theirs, ours in names.items()}


def picked(result, names):
    return {ours: result[ours] for ours in names.values()}


@pytest.fixture(scope="module")
def chair_results(official):
    folder = official / "chair"

    def score(name, variant):
        return chair.score(
            folder / name, folder / "coco_objects.json", folder / "synonyms.txt", variant, bootstrap=NO_INTERVALS
        )

    return score


@pytest.mark.parametrize("name", CAPTIONS)
def test_chair_official(name, chair_results, expected, official):
    theirs = expected("chair")["files"][name]
    ours = chair_results(name, "official")
    assert picked(ours, CHAIR) == renamed(theirs["official"], CHAIR)
    captions = read_rows(official / "chair" / name)
    synonyms = chair.Synonyms.read(official / "chair" / "synonyms.txt")
    assert len(theirs["per_caption"]) == 60
    for entry in theirs["per_caption"]:
        assert picked(ours["per_caption"][entry["index"]], PER_CAPTION) == renamed(entry, PER_CAPTION)
        assert chair.find_mentions(captions[entry["index"]]["caption"], synonyms).tokens == entry["tokens"]


@pytest.mark.parametrize("name", CAPTIONS)
def test_chair_lemmatizer(name, chair_results, expected, nltk_data):
    theirs = expected("chair")["files"][name]
    ours = chair_results(name, "lemmatizer")
    assert picked(ours, CHAIR) == renamed(theirs["opera_lemmatizer"], CHAIR)
    for entry in theirs["per_caption"]:
        there = entry if entry["opera_lemmatizer"] == "same" else entry["opera_lemmatizer"]
        here = ours["per_caption"][entry["index"]]
        assert here["node_words"] == there["node_words"]
        assert [(m["node_word"], m["token_index"]) for m in here["hallucinated"]] == [
            (m["node_word"], m["token_index"]) for m in there["hallucinated"]
        ]


@pytest.mark.parametrize(
    ("parser", "key"),
    [("official", "official"), ("opera", "variant_opera_recorder"), ("vcd", "variant_vcd_eval")],
)
def test_pope(parser, key, official, expected):
    files = expected("pope")["files"]
    assert files
    for name, entry in files.items():
        questions = read_rows(official / "pope" / entry["questions"])[: entry["first_n_questions"]]
        ours = pope.score(questions, official / "pope" / name, parser, bootstrap=NO_INTERVALS)
        assert {figure: ours[figure.lower()] for figure in entry[key]} == entry[key]
        assert ours["questions"] == entry["first_n_questions"]


def test_pope_single_answers(expected):
    for entry in expected("pope")["single_answers"]:
        for parser, key in (("official", "official"), ("opera", "opera_recorder")):
            assert ("yes" if pope.PARSERS[parser](entry["answer"], True) else "no") == entry[key], entry


def test_mme(official, expected):
    names = {
        "n_images": "images",
        "acc": "acc",
        "acc_plus": "acc_plus",
        "score": "score",
        "TP": "tp",
        "FN": "fn",
        "TN": "tn",
        "FP": "fp",
        "precision": "precision",
        "recall": "recall",
        "other_num": "other",
    }
    for folder, theirs in expected("mme")["sets"].items():
        ours = mme.score(official / "mme" / folder, bootstrap=NO_INTERVALS)
        assert set(ours["tasks"]) == set(theirs["tasks"]) == set(mme.TASKS)
        for task, entry in theirs["tasks"].items():
            assert picked(ours["tasks"][task], names) == renamed(entry, names)
        assert ours["perception"] == theirs["perception_total"]
        assert ours["cognition"] == theirs["cognition_total"]
        assert ours["hallucination"] == theirs["hallucination_subset_total"]


def test_mme_single_answers(expected):
    for entry in expected("mme")["single_answers"]:
        assert mme.parse(entry["response"]) == entry["official"], entry


GENERATIVE_COUNTERS = {
    "chair_num": "mentions",
    "chair_score": "hallucinated_mentions",
    "safe_cover_num": "truth",
    "safe_cover_score": "covered_truth",
    "hallu_cover_num": "hallu",
    "hallu_cover_score": "covered_hallu",
    "non_hallu_num": "responses",
}
PER_RESPONSE = {
    "id": "id",
    "nouns_in_vocabulary": "nouns",
    "hallucinated_mentions": "hallucinated_mentions",
    "object_mentions": "mentions",
    "covered_truth": "covered_truth",
    "n_truth": "truth",
    "covered_hallu": "covered_hallu",
    "n_hallu": "hallu",
}


@pytest.fixture(scope="module")
def score_amber(official, expected):
    folder = official / "amber"
    theirs = expected("amber")
    similarities = {
        "similarity_none": amber.identical,
        "similarity_table": amber.from_table(theirs["similarity_table"]),
    }

    def score(similarity, **how):
        return amber.score_generative(
            folder / theirs["generative"]["file"],
            folder / "annotations.json",
            folder / "relation.json",
            folder / "safe_words.txt",
            similarities[similarity],
            bootstrap=NO_INTERVALS,
            **how,
        )

    return score


@pytest.mark.parametrize("similarity", ["similarity_none", "similarity_table"])
def test_amber_generative_from_their_nouns(similarity, score_amber, official, expected):
    """Matching alone, on the nouns that the official extraction found."""
    theirs = expected("amber")["generative"]
    responses = json.loads((official / "amber" / theirs["file"]).read_text(encoding="utf-8"))
    found = {entry["id"]: entry["nouns_extracted_by_nltk"] for entry in theirs["similarity_none"]["per_response"]}
    nouns = {response["response"]: found[response["id"]] for response in responses}
    ours = score_amber(similarity, nouns=nouns.__getitem__)
    check_amber_generative(ours, theirs[similarity])


@pytest.mark.parametrize("similarity", ["similarity_none", "similarity_table"])
def test_amber_generative_whole(similarity, score_amber, expected, nltk_data, nltk_words):
    check_amber_generative(score_amber(similarity), expected("amber")["generative"][similarity])


def check_amber_generative(ours, theirs):
    assert ours["printed"] == theirs["official_printed"]["Generative Task"]
    counters = theirs["raw_counters"]
    assert picked(ours, GENERATIVE_COUNTERS) == renamed(counters, GENERATIVE_COUNTERS)
    assert ours["responses"] - ours["hallucinated_responses"] == counters["non_hallu_score"]
    assert len(ours["per_response"]) == len(theirs["per_response"])
    for here, there in zip(ours["per_response"], theirs["per_response"], strict=True):
        names = {key: PER_RESPONSE[key] for key in there if key in PER_RESPONSE}
        assert picked(here, names) == renamed(there, names)


@pytest.mark.parametrize("quality", ["clean", "noisy"])
def test_amber_discriminative(quality, official, expected):
    name = f"responses_discriminative_{quality}.json"
    theirs = expected("amber")["discriminative"][name]
    ours = amber.score_discriminative(
        official / "amber" / name, official / "amber" / "annotations.json", bootstrap=NO_INTERVALS
    )
    headings = {"descriminative task": "all", "exsitence": "existence"}  # spelt so in the official output
    printed = {
        headings.get(heading.lower(), heading.lower()): {figure.lower(): value for figure, value in figures.items()}
        for heading, figures in theirs["official_printed"].items()
    }
    assert ours["printed"] == printed
    dimensions = {"": ours, **ours["dimensions"]}
    prefixes = {"": "", "as_": "state", "an_": "number", "aa_": "action", "asso_": "relation", "ha_": "existence"}
    counts = {
        "qa_correct_score": "right",
        "qa_correct_num": "questions",
        "qa_no_score": "right_no",
        "qa_no_num": "true_no",
        "qa_ans_no_score": "right_no",
        "qa_ans_no_num": "answered_no",
    }
    assert {
        prefix + counter: dimensions[dimension][ours_name]
        for prefix, dimension in prefixes.items()
        for counter, ours_name in counts.items()
    } == theirs["raw_counters"]
