"""Figures, paired differences, and the length-matched control, on made-up answers: no model runs here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlm_saliency.benchmarks.opening import open_benchmark
from lvlm_saliency.evaluation.scoring import SHUFFLES, Scorer, cut, shuffled
from lvlm_saliency.evaluation.systems import System

N = 40


@given(st.text(" abc\n", max_size=40), st.integers(0, 12))
def test_cut_keeps_the_first_words_as_they_stand(text, words):
    shortened = cut(text, words)
    assert text.startswith(shortened)
    assert shortened.split() == text.split()[:words]


def row(benchmark, index, text):
    item = benchmark.items[index]
    ids = list(range(len(text.split()) + 1))
    return {"index": index, "id": item.id, "image": item.image, "text": text, "token_ids": ids, "finish": "stop"}


@pytest.fixture(scope="module")
def captions():
    return open_benchmark("scenes-caption", n=N)


def scored(benchmark, texts, resamples=200):
    """Scores of {system: [text of each item, or None for a picture that could not be read]}."""
    answers = {
        label: {
            i: row(benchmark, i, text)
            if text is not None
            else {"index": i, "image": benchmark.items[i].image, "error": "x"}
            for i, text in enumerate(written)
        }
        for label, written in texts.items()
    }
    scorer = Scorer([benchmark], [System(label, ()) for label in texts], resamples)
    scores, details = scorer.score({benchmark.name: answers})
    return scores["benchmarks"][benchmark.name], details


def present(scene):
    return sorted(scene.present)


def absent(scene):
    from lvlm_saliency.scenes.classes import CLASSES

    return next(name for name in CLASSES if name not in scene.present)


def test_chair_is_counted_on_the_exact_ground_truth(captions):
    right = [f"There is a {present(scene)[0]}." for scene in captions.scenes]
    wrong = [f"There is a {present(scene)[0]} and a {absent(scene)}." for scene in captions.scenes]
    held, _ = scored(captions, {"greedy": right, "bad": wrong})
    good, bad = (held["parts"]["captions"][label] for label in ("greedy", "bad"))
    assert (good["figures"]["CHAIR_s"], good["figures"]["CHAIR_i"]) == (0, 0)
    assert (bad["figures"]["CHAIR_s"], bad["figures"]["CHAIR_i"]) == (1, 0.5)
    assert bad["counts"]["mentions"] == 2 * N
    assert good["figures"]["recall"] == N / sum(len(scene.present) for scene in captions.scenes)
    assert held["against_greedy"]["captions"]["bad"]["CHAIR_i"]["difference"] == 0.5
    low, high = held["against_greedy"]["captions"]["bad"]["CHAIR_s"]["interval"]
    assert (low, high) == (1, 1)


def test_agrees_with_the_worlds_own_scores(captions):
    from lvlm_saliency.scenes import chair_scores, write_caption

    texts = [write_caption(scene) for scene in captions.scenes]
    held, _ = scored(captions, {"greedy": texts})
    figures = held["parts"]["captions"]["greedy"]["figures"]
    own = chair_scores(texts, captions.scenes)
    assert (figures["CHAIR_s"], figures["CHAIR_i"], figures["recall"]) == (own.chair_s, own.chair_i, own.recall)
    assert held["parts"]["captions"]["greedy"]["extra"]["well-formed"] == 1


def test_a_gain_that_is_only_shortness_is_called_that(captions):
    """Greedy names what is there and then invents; one system stops early, the other invents nothing at full length."""
    long = [f"There is a {present(s)[0]} and there is also a {absent(s)}." for s in captions.scenes]
    short = [text.split(" and ")[0] + "." for text in long]
    honest = [
        text.replace(f"a {absent(s)}", f"a {present(s)[1]}") for text, s in zip(long, captions.scenes, strict=True)
    ]
    held, _ = scored(captions, {"greedy": long, "short": short, "honest": honest})
    matched = held["length_matched"]
    plain = held["against_greedy"]["captions"]
    assert plain["short"]["CHAIR_s"]["difference"] == plain["honest"]["CHAIR_s"]["difference"] == -1
    assert matched["differences"]["captions"]["short"]["CHAIR_s"]["difference"] == 0
    assert matched["differences"]["captions"]["honest"]["CHAIR_s"]["difference"] == -1
    assert matched["figures"]["captions"]["short"]["figures"]["CHAIR_s"] == 0
    assert "greedy" not in matched["differences"]["captions"]


def test_the_control_is_cut_item_by_item(captions):
    long = [f"A {present(s)[0]}. A {absent(s)}." for s in captions.scenes]
    mixed = [text if i % 2 else "A." for i, text in enumerate(long)]
    held, _ = scored(captions, {"greedy": long, "mixed": mixed})
    control = held["length_matched"]["figures"]["captions"]["mixed"]
    assert control["figures"]["CHAIR_s"] == 0.5
    assert control["figures"]["length"] == held["parts"]["captions"]["mixed"]["figures"]["length"]


@given(st.dictionaries(st.integers(0, 999), st.integers(0, 60), max_size=12), st.integers(0, 9))
def test_shuffled_lengths_are_the_same_lengths_on_other_pictures(lengths, seed):
    dealt = shuffled(lengths, seed)
    assert sorted(dealt) == sorted(lengths)
    assert sorted(dealt.values()) == sorted(lengths.values())
    marked = shuffled({item: item for item in lengths}, seed)
    assert len(lengths) < 2 or all(item != other for item, other in marked.items())


def test_knowing_where_to_stop_is_told_from_writing_less(captions):
    """One system stops before the invented object where there is one; as short elsewhere does not help."""
    scenes = list(enumerate(captions.scenes))
    greedy = [f"A {present(s)[0]}. A {absent(s) if i % 2 else present(s)[1]}." for i, s in scenes]
    knows = [text.split(". ")[0] + "." if i % 2 else text for i, text in enumerate(greedy)]
    held, _ = scored(captions, {"greedy": greedy, "knows": knows})
    matched, dealt = held["length_matched"], held["length_shuffled"]
    assert matched["figures"]["captions"]["knows"]["figures"]["CHAIR_s"] == 0
    share = dealt["figures"]["captions"]["knows"]["figures"]["CHAIR_s"]
    assert 0.1 < share < 0.4, "about half of the invented objects stay"
    assert share * N * SHUFFLES == pytest.approx(round(share * N * SHUFFLES))
    low, high = dealt["differences"]["captions"]["knows"]["CHAIR_s"]["interval"]
    assert low < high < 0
    assert "greedy" not in dealt["figures"]["captions"]


def test_statements_are_scored_beside_the_objects(captions):
    """Of what is there everything true; the same with a colour that is not its own; and the object introduced again."""
    from lvlm_saliency.scenes.classes import COLOURS
    from lvlm_saliency.scenes.grammar import NUMBERS

    def phrase(scene, colour):
        item = scene.objects[0]
        plural = item.name if item.count == 1 else next(p for s, p in PLURALS.items() if s == item.name)
        return f"{'one' if item.count == 1 else NUMBERS[item.count]} {colour} {plural}"

    from lvlm_saliency.scenes.classes import PLURALS

    right = [f"We can see {phrase(s, s.objects[0].colour)}." for s in captions.scenes]
    wrong = [f"We can see {phrase(s, next(c for c in COLOURS if c != s.objects[0].colour))}." for s in captions.scenes]
    again = [f"{one} {one}" for one in right]
    held, details = scored(captions, {"greedy": right, "wrong": wrong, "again": again})
    figures = {label: entry["figures"] for label, entry in held["parts"]["statements"].items()}
    assert figures["greedy"]["false_statements"] == figures["greedy"]["introduced_again"] == 0
    assert (figures["wrong"]["false_statements"], figures["wrong"]["false_colour"]) == (1, 1)
    assert (figures["wrong"]["false_object"], figures["wrong"]["false_count"]) == (0, 0)
    assert (figures["again"]["introduced_again"], figures["again"]["statements_per_caption"]) == (0.5, 2)
    assert figures["again"]["repeated_bigrams"] == 0.5
    assert held["parts"]["captions"]["wrong"]["figures"]["CHAIR_i"] == 0, "objects alone see nothing of it"
    assert held["against_greedy"]["statements"]["wrong"]["false_statements"]["interval"] == [1, 1]
    assert len(details["scenes-caption", "wrong"]["statements"]["per_caption"]) == N


def test_pictures_that_one_system_could_not_read_are_left_out_of_all(captions):
    texts = [f"There is a {absent(scene)}." for scene in captions.scenes]
    held, details = scored(captions, {"greedy": [None, *texts[1:]], "other": [*texts[:3], None, *texts[4:]]})
    assert (held["items"], held["scored"], held["skipped"]) == (N, N - 2, 2)
    assert {entry["counts"]["captions"] for entry in held["parts"]["captions"].values()} == {N - 2}
    assert len(details["scenes-caption", "greedy"]["captions"]["per_caption"]) == N - 2


def test_pope_has_every_kind_of_negative_and_the_yes_ratio():
    benchmark = open_benchmark("scenes-pope", n=5)
    texts = {"greedy": ["Yes."] * len(benchmark.items), "no": ["No."] * len(benchmark.items)}
    held, _ = scored(benchmark, texts)
    assert list(held["parts"]) == ["random", "popular", "adversarial", "all"]
    for part in held["parts"].values():
        assert (part["greedy"]["figures"]["yes_ratio"], part["greedy"]["figures"]["accuracy"]) == (1, 0.5)
        assert part["no"]["figures"]["yes_ratio"] == 0
    assert held["length_matched"] == {}


def test_intervals_are_paired(captions):
    """Two systems that differ on one picture by the same amount: the interval is far narrower than either's own."""
    wrong = [
        f"There is a {absent(s)}." if i % 2 else f"There is a {present(s)[0]}." for i, s in enumerate(captions.scenes)
    ]
    other = [*wrong[:1], f"There is a {present(captions.scenes[1])[0]}.", *wrong[2:]]
    held, _ = scored(captions, {"greedy": wrong, "other": other}, resamples=1000)
    low, high = held["parts"]["captions"]["greedy"]["intervals"]["CHAIR_s"]
    near, far = held["against_greedy"]["captions"]["other"]["CHAIR_s"]["interval"]
    assert far - near < (high - low) / 2
    assert near <= -1 / N <= far
