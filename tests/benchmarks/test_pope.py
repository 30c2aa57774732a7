"""POPE's parsers, pairing and errors."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvlm_saliency.benchmarks import pope
from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.stats.bootstrap import Bootstrap

FAST = Bootstrap(resamples=40)


@pytest.mark.parametrize(
    ("answer", "official", "opera"),
    [
        ("Yes", True, True),
        ("No, there is none.", False, False),
        ("", True, True),
        ("NO", True, False),
        ("Not", True, True),
        ("There isn't.", True, False),
        (". No", True, False),
        ("Yes. No", True, False),
        ("No. Yes", False, False),
        ("Yes, but not clearly", False, False),
        ("No\n", True, True),
        ("No!", True, True),
        ("nothing", True, True),
        ("I do not know", False, False),
    ],
)
def test_parsers(answer, official, opera):
    assert pope.official(answer, True) is official
    assert pope.opera(answer, False) is opera


@given(st.text(max_size=40), st.booleans())
def test_no_parser_but_vcd_looks_at_the_label(answer, label):
    for parser in ("official", "opera"):
        assert pope.PARSERS[parser](answer, label) == pope.PARSERS[parser](answer, not label)


@given(st.text(max_size=40))
def test_what_follows_the_first_sentence_is_official_without_weight(answer):
    assert pope.official(answer + ". no", True) == pope.official(answer, True)


@given(st.text(alphabet="abcXYZ ,.!", max_size=40))
def test_vcd_without_yes_or_no_is_wrong_under_both_labels(answer):
    assert pope.vcd(answer, True) is False
    assert pope.vcd(answer, False) is True


def questions(labels):
    return [
        {"question_id": n, "image": f"{n // 2}.jpg", "text": f"Is there a thing {n}?", "label": label}
        for n, label in enumerate(labels)
    ]


def answers(said):
    return [{"question_id": n, "question": f"Is there a thing {n}?", "answer": word} for n, word in enumerate(said)]


def test_figures():
    result = pope.score(questions(["yes", "yes", "no", "no"]), answers(["yes", "no", "Yes.", ""]), bootstrap=FAST)
    assert (result["tp"], result["fn"], result["fp"], result["tn"]) == (1, 1, 2, 0)
    assert result["accuracy"] == 0.25
    assert result["precision"] == 1 / 3
    assert result["f1"] == 2 * (1 / 3) * 0.5 / (1 / 3 + 0.5)
    assert result["yes_ratio"] == 0.75


def test_undefined_figures_are_nan():
    result = pope.score(questions(["no"]), answers(["no"]), bootstrap=FAST)
    assert result["accuracy"] == 1.0
    assert all(math.isnan(result[name]) for name in ("precision", "recall", "f1"))
    assert result["yes_ratio"] == 0.0
    assert math.isnan(pope.score([], [], bootstrap=FAST)["accuracy"])


def test_any_label_but_no_is_a_yes():
    assert pope.score(questions(["No", "yes", "maybe"]), answers(["yes"] * 3), bootstrap=FAST)["tp"] == 3


LABELS = st.lists(st.sampled_from(["yes", "no"]), min_size=1, max_size=12)


@given(LABELS, st.data())
@settings(deadline=None, max_examples=50)
def test_pairing_by_id_takes_any_order(labels, data):
    asked = questions(labels)
    given_ = answers(data.draw(st.lists(st.sampled_from(["yes", "no"]), min_size=len(labels), max_size=len(labels))))
    in_order = pope.score(asked, given_, bootstrap=FAST)
    shuffled = data.draw(st.permutations(given_))
    by_id = pope.score(asked, shuffled, pairing="id", bootstrap=FAST)
    assert by_id["per_question"] == in_order["per_question"]
    if shuffled != given_:
        with pytest.raises(InputError, match="another order"):
            pope.score(asked, shuffled, bootstrap=FAST)
        assert pope.score(asked, shuffled, pairing="blind", bootstrap=FAST)["questions"] == len(labels)


def test_texts_are_checked_where_ids_are_not_there():
    asked = [{"text": "Is there a cat?", "label": "no"}]
    assert pope.score(asked, [{"question": "Is there a  cat?", "answer": "no"}], bootstrap=FAST)["tn"] == 1
    with pytest.raises(InputError, match=r"answers\[0\]: answers 'Is there a dog\?' where"):
        pope.score(asked, [{"question": "Is there a dog?", "answer": "no"}], bootstrap=FAST)


def test_llava_answer_files():
    given_ = [{"question_id": 0, "prompt": "Is there a thing 0?", "text": "No"}]
    assert pope.score(questions(["no"]), given_, bootstrap=FAST)["tn"] == 1


@pytest.mark.parametrize("pairing", ["order", "id"])
def test_missing_answers_are_an_error_or_counted(pairing):
    asked, given_ = questions(["yes", "no", "no"]), answers(["yes", "no"])
    with pytest.raises(InputError, match="no answer"):
        pope.score(asked, given_, pairing=pairing)
    result = pope.score(asked, given_, pairing=pairing, errors="skip", bootstrap=FAST)
    assert result["skipped"] == {"missing_answer": 1}
    assert result["questions"] == 2


@pytest.mark.parametrize("pairing", ["order", "id"])
def test_answers_without_a_question(pairing):
    with pytest.raises(InputError, match="no question"):
        pope.score(questions(["yes"]), answers(["yes", "no"]), pairing=pairing)
    result = pope.score(questions(["yes"]), answers(["yes", "no"]), pairing=pairing, errors="skip", bootstrap=FAST)
    assert result["skipped"] == {"unknown_question": 1}


def test_duplicates_by_id():
    twice = answers(["yes", "no"]) + answers(["no"])
    with pytest.raises(InputError, match=r"answers\[2\]: a second record of question 0"):
        pope.score(questions(["yes", "no"]), twice, pairing="id")
    result = pope.score(questions(["yes", "no"]), twice, pairing="id", errors="skip", bootstrap=FAST)
    assert (result["skipped"], result["tp"]) == ({"duplicate": 1}, 1)


@pytest.mark.parametrize("bad", ["{broken", '{"question_id": 1}', '{"question_id": 1, "answer": null}', "7"])
@pytest.mark.parametrize("pairing", ["order", "id", "blind"])
def test_a_skipped_line_does_not_move_the_others(bad, pairing, tmp_path):
    """What follows a line that cannot be read is still paired with its own question."""
    lines = [json.dumps(answer) for answer in answers(["yes", "no", "no"])]
    lines[1] = bad
    path = tmp_path / "answers.jsonl"
    path.write_text("\n".join(lines) + "\n")
    asked = questions(["yes", "yes", "no"])
    with pytest.raises(InputError, match=r"answers\.jsonl:2: "):
        pope.score(asked, path, pairing=pairing)
    result = pope.score(asked, path, pairing=pairing, errors="skip", bootstrap=FAST)
    assert (result["tp"], result["tn"], result["questions"]) == (1, 1, 2)
    assert result["skipped"]["malformed"] == 1


@given(end=st.sampled_from(["\n", "\r\n"]), bom=st.booleans())
@settings(deadline=None, max_examples=4)
def test_line_ends_and_bom(end, bom, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pope")
    files = []
    for name, rows in (("q", questions(["yes", "no"])), ("a", answers(["no", "no"]))):
        files.append(folder / name)
        text = ("\ufeff" if bom else "") + "".join(json.dumps(row) + end for row in rows)
        files[-1].write_bytes(text.encode())
    result = pope.score(*files, bootstrap=FAST)
    assert (result["fn"], result["tn"]) == (1, 1)


def test_unknown_settings():
    with pytest.raises(SettingError, match="no POPE parser 'offical'; did you mean 'official'"):
        pope.score([], [], "offical")
    with pytest.raises(SettingError, match="no pairing"):
        pope.score([], [], pairing="random")


def test_images_are_drawn_with_all_of_their_questions():
    """Two questions on one image always answered alike vary like one."""
    doubled = questions(["yes", "yes"] * 30)
    said = answers([word for n in range(30) for word in ["yes" if n % 3 else "no"] * 2])
    single = [{**question, "image": f"{n}.png"} for n, question in enumerate(doubled)]
    wide, narrow = (pope.score(asked, said)["intervals"]["recall"] for asked in (doubled, single))
    assert wide[1] - wide[0] > 1.2 * (narrow[1] - narrow[0])
