"""`lvlm-saliency check`: the report, and its exit statuses."""

from __future__ import annotations

import json

from zoo import FAMILIES, REFUSED


def test_a_model_that_keeps_the_promises(run, monkeypatch):
    result = run("check", "--model", FAMILIES["llama"].folder())
    assert result.status == 0
    assert "rows = definition" in result.out
    assert "8 passed, 0 failed" in result.out
    assert max(map(len, result.out.splitlines())) <= 80
    result = run("check", "--model", FAMILIES["llama"].folder(), "--dtype", "bfloat16", "--json")
    found = json.loads(result.out)
    assert (result.status, found["ok"], found["dtype"]) == (0, True, "bfloat16")
    assert found["checkpoint"] == FAMILIES["llama"].folder()


def test_a_refused_model_is_status_one(run):
    result = run("check", "--model", REFUSED["mllama"].folder())
    assert result.status == 1
    assert "REFUSED" in result.out
    assert "cross-attention layers" in " ".join(result.out.split())
    assert json.loads(run("check", "--model", REFUSED["mllama"].folder(), "--json").out)["ok"] is False


def test_no_model_is_status_two(run, tmp_path):
    result = run("check", "--model", tmp_path / "nothing")
    assert result.status == 2
    assert result.error
