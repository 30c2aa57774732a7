"""MME's parser, layout and sums."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlm_saliency.benchmarks import mme
from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.stats.bootstrap import Bootstrap

FAST = Bootstrap(resamples=40)


@pytest.mark.parametrize(
    ("response", "read"),
    [
        ("Yes", "yes"),
        ("yes, it is", "yes"),
        (" Yes", "yes"),
        ("  yes", "other"),
        ("  no", "no"),
        ("   no", "other"),
        ("know", "no"),
        ("Another", "no"),
        ("none", "no"),
        ("unknown", "other"),
        ("The answer is no", "other"),
        ("y", "other"),
        ("", "other"),
    ],
)
def test_parser(response, read):
    assert mme.parse(response) == read


@given(st.text(max_size=30), st.text(max_size=30))
def test_only_the_first_four_characters_count(response, rest):
    if len(response.lower()) >= 4 and len(response.lower()) == len(response):
        assert mme.parse(response + rest) == mme.parse(response)


def write(folder, task, pairs, end="\n"):
    folder.mkdir(exist_ok=True)
    lines = [
        f"{image}.jpg\tIs it so?\t{truth}\t{said}"
        for image, answers in enumerate(pairs)
        for truth, said in zip(("Yes", "No"), answers, strict=True)
    ]
    (folder / f"{task}.txt").write_bytes((end.join(lines) + end).encode())


@pytest.fixture
def folder(tmp_path):
    for task in mme.TASKS:
        write(tmp_path / "run", task, [("yes", "no"), ("yes", "yes"), ("", "no")])
    return tmp_path / "run"


def test_figures(folder):
    result = mme.score(folder, bootstrap=FAST)
    task = result["tasks"]["OCR"]
    assert task["acc"] == 4 / 6
    assert task["acc_plus"] == 1 / 3
    assert task["score"] == pytest.approx(100.0)
    assert {name: task[name] for name in ("tp", "fn", "tn", "fp", "other", "images")} == {
        "tp": 2, "fn": 0, "tn": 2, "fp": 1, "other": 1, "images": 3,
    }  # fmt: skip
    assert result["perception"] == pytest.approx(1000)
    assert result["cognition"] == pytest.approx(400)
    assert result["hallucination"] == pytest.approx(400)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_ends_and_bom(end, folder):
    write(folder, "count", [("no", "no")], end)
    path = folder / "count.txt"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert mme.score(folder, bootstrap=FAST)["tasks"]["count"]["acc"] == 0.5


def test_some_tasks_only(folder):
    result = mme.score(folder, tasks=["count", "existence"], bootstrap=FAST)
    assert list(result["tasks"]) == ["existence", "count"]
    assert math.isnan(result["hallucination"])
    with pytest.raises(SettingError, match="no MME task 'colour'; did you mean 'color'"):
        mme.score(folder, tasks=["colour"])


def test_missing_tasks(folder):
    (folder / "color.txt").unlink()
    with pytest.raises(InputError, match=r"color\.txt: the task's file is missing"):
        mme.score(folder)
    result = mme.score(folder, errors="skip", bootstrap=FAST)
    assert result["skipped"] == {"missing_task": 1}
    assert math.isnan(result["perception"])
    assert not math.isnan(result["cognition"])
    with pytest.raises(InputError, match="not a folder"):
        mme.score(folder / "count.txt")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0.jpg\tq\tYes", "posters.txt:2: 3 columns"),
        ("0.jpg\tq\tYes\tno\tno", "posters.txt:2: 5 columns"),
        ("0.jpg\tq\tmaybe\tno", "posters.txt:2: the truth is 'maybe'"),
        ("1.jpg\tq\tNo\tno", "posters.txt:2: 1.jpg is paired with 0.jpg"),
    ],
)
def test_bad_lines(line, message, folder):
    path = folder / "posters.txt"
    lines = path.read_text().splitlines()
    lines[1] = line
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=message):
        mme.score(folder)
    result = mme.score(folder, errors="skip", bootstrap=FAST)
    assert sum(result["skipped"].values()) == 1
    assert result["tasks"]["posters"]["images"] == 2


@pytest.mark.parametrize(("kept", "message"), [(0, "no line"), (3, "odd number")])
def test_incomplete_files(kept, message, folder):
    path = folder / "scene.txt"
    path.write_text("".join(line + "\n" for line in path.read_text().splitlines()[:kept]))
    with pytest.raises(InputError, match=message):
        mme.score(folder)
    assert mme.score(folder, errors="skip", bootstrap=FAST)["skipped"] == {"malformed": 1}


def test_precision_without_a_yes_is_nan(folder):
    write(folder, "count", [("no", "no")])
    task = mme.score(folder, bootstrap=FAST)["tasks"]["count"]
    assert math.isnan(task["precision"])
    assert task["recall"] == 0.0


def test_an_answer_may_hold_a_carriage_return(tmp_path):
    """LF alone ends a line, with or without a CR before it."""
    from lvlm_saliency.benchmarks import mme

    plain = ["a.jpg\tq\tYes\tyes, so\n", "a.jpg\tq\tNo\tno\n"]
    strange = ["a.jpg\tq\tYes\tyes,\r so\r\n", "a.jpg\tq\tNo\tno\rmore\r\r\n"]
    found = []
    for name, lines in (("plain", plain), ("strange", strange)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "count.txt").write_bytes("".join(lines).encode())
        found.append(mme.score(tmp_path / name, tasks=["count"])["tasks"])
    assert found[0] == found[1]
    assert mme.read_answers(tmp_path / "strange" / "count.txt")[1].endswith("\tno\rmore\r")
