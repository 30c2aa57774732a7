"""`lvlm-saliency judge`: going on, what is never scored, and what the figures say of their judge."""

from __future__ import annotations

import json

import pytest

from lvlm_saliency.benchmarks import mmvp
from lvlm_saliency.benchmarks.compare import compare
from lvlm_saliency.cli.app import run
from lvlm_saliency.errors import InputError
from lvlm_saliency.judge.record import read_record

from .server import endpoint, said

WORDING = "system: Say yes or no.\nmessage: 'Q {question} T {truth} A {answer}'\n"


@pytest.fixture
def files(tmp_path):
    rows = [
        {"question_id": n, "prompt": f"Is it {n}?", "answer": "(a)", "response": "(a)" if n % 3 else "(b)"}
        for n in range(1, 25)
    ]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "wording.yaml").write_text(WORDING)
    return tmp_path


def command(files, base: str, out: str = "out.json", *more: str) -> list[str]:
    paths = [str(files / "answers.jsonl"), "--wording", str(files / "wording.yaml"), "--out", str(files / out)]
    return ["judge", "mmvp", *paths, "--judge", base, "--judge-model", "judge-1", "--json", *more]


def right(body, _number):
    asked = body["messages"][1]["content"]
    return said("yes" if asked.endswith("A (a)") else "no")


def test_it_goes_on_where_it_stopped_and_scores_nothing_that_is_unjudged(files, capsys):
    with endpoint(lambda body, n: right(body, n) if n < 10 else (500, {}, {})) as (base, asked):
        assert run(command(files, base, "out.json", "--tries", "1")) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["unjudged"] == 14
    assert told["out"] is None
    assert not (files / "out.json").exists()
    with endpoint(right) as (base, asked):
        assert run(command(files, base)) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(asked) == 14
    assert (told["reused"], told["unjudged"], told["unparsable"]) == (10, 0, 0)
    assert told["altered"] == ["system", "message"]
    result = mmvp.score(files / "answers.jsonl", files / "out.json")
    assert result["right"] == 16
    # Without any judge, from the kept replies.
    assert run(command(files, f"replay:{files / 'out.json.replies.jsonl'}", "again.json")) == 0
    assert (files / "again.json").read_text() == (files / "out.json").read_text()


def test_judges_are_not_mixed(files, capsys):
    with endpoint(lambda body, n: said("yes", f"judge-{n % 2}")) as (base, _):
        assert run(command(files, base)) == 2
    assert "judges are not mixed" in capsys.readouterr().err
    (files / "out.json.replies.jsonl").unlink()
    for out, model in (("one.json", "judge-1"), ("two.json", "judge-2")):
        with endpoint(lambda body, n, model=model: said("yes", model)) as (base, _):
            assert run(command(files, base, out)) == 0
    results = [
        {**mmvp.score(files / "answers.jsonl", files / out), "judge": read_record(files / out)}
        for out in ("one.json", "two.json")
    ]
    with pytest.raises(InputError, match="served: 'judge-1' and 'judge-2'"):
        compare(*results)
    capsys.readouterr()
    answers = str(files / "answers.jsonl")
    versus = ["--versus", str(files / "two.json"), "--resamples", "0"]
    assert run(["score", "mmvp", str(files / "one.json"), "--answers", answers, *versus]) == 2
    assert run(["score", "mmvp", str(files / "one.json"), "--answers", answers, "--resamples", "0"]) == 0
    assert "judged by judge-1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (["judge", "pope"], "no judge reads 'pope'"),
        (["--judge", "replay:nowhere"], "no recorded replies at nowhere"),
        (["--judge", "host:80"], "must begin with http"),
    ],
)
def test_bad_input_is_one_line_and_status_2(files, capsys, change, line):
    words = command(files, "http://127.0.0.1:9/v1")
    for old, new in zip(change[::2], change[1::2], strict=True):
        words[words.index(old) + 1] = new
    assert run(words) == 2
    err = capsys.readouterr().err
    assert line in err
    assert err.count("\n") == 1
