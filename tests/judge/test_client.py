"""The endpoint and the cache in front of it: what is retried, what is refused, what is kept."""

from __future__ import annotations

import json

import pytest

from lvlm_saliency.errors import InputError
from lvlm_saliency.judge.ask import Reply, Request, UnjudgedError
from lvlm_saliency.judge.cache import Cache
from lvlm_saliency.judge.client import KEY, Endpoint
from lvlm_saliency.judge.wording import Wording, read_wording

from .server import endpoint, said

ASKED = Request("q1", ({"role": "user", "content": "Is it so?"},), 0.2, 7)


def judge(base: str, tries: int = 4) -> tuple[Endpoint, list[float]]:
    slept: list[float] = []
    return Endpoint(base, "judge-1", tries=tries, sleep=slept.append), slept


def test_the_request_is_the_official_shape_and_the_key_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv(KEY, "secret")
    with endpoint(lambda body, n: said("7 9")) as (base, asked):
        ask, slept = judge(base)
        assert ask(ASKED) == Reply("7 9", "judge-1", {"total_tokens": 3})
    (one,) = asked
    assert one["path"] == "/v1/chat/completions"
    assert one["key"] == "Bearer secret"
    body = {name: one[name] for name in ("model", "messages", "temperature", "max_tokens")}
    assert body == {
        "model": "judge-1",
        "messages": [{"role": "user", "content": "Is it so?"}],
        "temperature": 0.2,
        "max_tokens": 7,
    }
    assert "secret" not in repr(ask)
    assert not slept


def test_a_busy_server_is_asked_again_as_late_as_it_says(monkeypatch):
    monkeypatch.delenv(KEY, raising=False)
    answers = [(429, {}, {"Retry-After": "3"}), (503, {}, {}), (200, b"{", {}), said("yes")]
    with endpoint(lambda body, n: answers[n]) as (base, asked):
        ask, slept = judge(base)
        assert ask(ASKED).text == "yes"
    assert len(asked) == 4
    assert asked[0]["key"] is None
    assert slept[0] == 3
    assert 1.5 <= slept[1] <= 2.5
    assert 3 <= slept[2] <= 5


def test_no_reply_at_all_is_unjudged_and_says_what_was_met():
    with endpoint(lambda body, n: (500, {}, {})) as (base, asked):
        ask, _ = judge(base, tries=3)
        with pytest.raises(UnjudgedError, match=r"q1: no reply from the judge in 3 tries \(the last: HTTP 500"):
            ask(ASKED)
    assert len(asked) == 3
    ask, _ = judge(base, tries=2)  # nobody listens any more
    with pytest.raises(UnjudgedError, match="2 tries"):
        ask(ASKED)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 302])
def test_a_refusal_stops_everything(status):
    with endpoint(lambda body, n: (status, {"error": "no \x1b[31mkey"}, {"Location": "http://127.0.0.1:9/"})) as (
        base,
        asked,
    ):
        ask, _ = judge(base)
        with pytest.raises(InputError, match=f"HTTP {status}"):
            ask(ASKED)
    assert len(asked) == 1


@pytest.mark.parametrize("base", ["ftp://host/v1", "localhost:8000", "", "http://user:word@host/v1"])
def test_an_address_that_is_none(base):
    with pytest.raises(InputError, match="judge's address"):
        Endpoint(base, "m")


def test_every_reply_is_kept_and_asked_for_once(tmp_path):
    asked = []

    def ask(request):
        asked.append(request)
        return Reply(f"reply {len(asked)}", "judge-1")

    file = tmp_path / "replies.jsonl"
    first = Cache(file, "judge-1", ask)
    other = Request("q1", ASKED.messages, 0.2, 7, run=1)
    assert [first(ASKED).text, first(ASKED).text, first(other).text] == ["reply 1", "reply 1", "reply 2"]
    with file.open("ab") as torn:
        torn.write(b'{"key": "to')
    again = Cache(file, "judge-1", ask)
    assert [again(ASKED).text, again(other).text, again.reused, len(asked)] == ["reply 1", "reply 2", 2, 2]
    hotter = Request("q1", ASKED.messages, 0.3, 7)
    assert again(hotter).text == "reply 3"
    assert [json.loads(line)["reply"] for line in file.read_text().splitlines()] == ["reply 1", "reply 2", "reply 3"]


def test_the_replies_of_two_judges_are_not_mixed(tmp_path):
    file = tmp_path / "replies.jsonl"
    Cache(file, "judge-1", lambda request: Reply("a"))(ASKED)
    with pytest.raises(InputError, match="judges are not mixed"):
        Cache(file, "judge-2", lambda request: Reply("b"))
    file.write_text('{"key": 3}\n')
    with pytest.raises(InputError, match="damaged"):
        Cache(file, "judge-1", lambda request: Reply("b"))


def test_a_wording_is_filled_once_and_known_by_its_hash(tmp_path):
    file = tmp_path / "wording.yaml"
    file.write_text("message: |-\n  Q: {question} A: {answer} {other}\nsystem: be fair\n")
    slots = {"message": ("question", "answer"), "system": ()}
    wording = read_wording(file, slots, {"message": "0" * 64, "system": Wording({"system": "be fair"}, {}).sha256})
    filled = wording.filled("message", question="{answer}?", answer="{question}!")
    assert filled == "Q: {answer}? A: {question}! {other}"
    assert "message" in wording.altered
    with pytest.raises(InputError, match="needs 'retry'"):
        read_wording(file, {"retry": ()}, {})
    with pytest.raises(InputError, match=r"needs the slot \{truth\}"):
        read_wording(file, {"message": ("truth",)}, {})


@pytest.mark.parametrize("given", ["sec\nret", "sec\rret: 1", "s\u00e9cret", "sec\x7fret"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(monkeypatch, given):
    monkeypatch.setenv(KEY, given)
    with endpoint(lambda body, n: said("yes")) as (base, asked):
        ask, _ = judge(base, tries=2)
        with pytest.raises(InputError, match="characters that no key has") as told:
            ask(ASKED)
    assert "ret" not in str(told.value)
    assert not asked


def test_a_key_that_was_copied_with_its_line_end(monkeypatch):
    monkeypatch.setenv(KEY, " secret\r\n")
    with endpoint(lambda body, n: said("yes")) as (base, asked):
        assert judge(base)[0](ASKED).text == "yes"
    assert asked[0]["key"] == "Bearer secret"


@pytest.mark.parametrize(
    "reply", [b"[" * 100_000, b'{"a":' * 100_000, b'{"choices": [{"message": {"content": "\\ud800"}}]}']
)
def test_a_hostile_reply_leaves_its_item_unjudged(monkeypatch, reply):
    monkeypatch.delenv(KEY, raising=False)
    unread = pytest.raises(UnjudgedError, match="its reply cannot be read")
    with endpoint(lambda body, n: (200, reply, {})) as (base, _), unread:
        judge(base, tries=2)[0](ASKED)
