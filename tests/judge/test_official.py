"""Every message that the official scripts send, by its hash; and the official figures from replayed replies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lvlm_saliency.benchmarks import llava_bench, mm_vet, mmhal_bench, mmvp
from lvlm_saliency.benchmarks.registry import judging
from lvlm_saliency.errors import InputError
from lvlm_saliency.judge.ask import Reply, Request, sha256, user_message
from lvlm_saliency.judge.run import judge_all
from lvlm_saliency.judge.wording import Wording

DATA = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the benchmarks' own files are not here")


def read(path: str):
    return json.loads((DATA / path).read_text(encoding="utf-8"))


def wording(name: str) -> Wording:
    """The official wording, with slots, from the recorded requests."""
    if name == "llava-bench":
        texts = {"system": read("llava_bench_w/judge_request_example.json")["messages"][0]["content"]}
    elif name == "mm-vet":
        text = read("mm_vet/judge_request_example.json")["messages"][0]["content"]
        texts = {"message": text[: text.rindex("\n")], "retry": found(read("mm_vet/expected.json"), "retry_suffix")}
    elif name == "hallusionbench":
        example = read("hallusionbench/judge_request_example.json")
        row = read("hallusionbench/HallusionBench.json")
        first = next(one for one in row if one["category"] == "VD")
        answer = "Yes, the right orange circle appears to be the same size as the left orange circle."
        right, same = (example[one]["messages"][0]["content"] for one in ("correctness", "same"))
        right = right.replace(f"Question:{first['question']}", "Question:{question}")
        right = right.replace(f"answer: {first['gt_answer_details']}", "answer: {reference}")
        texts = {
            "correctness": right.replace(f"Prediction answer:{answer}", "Prediction answer:{answer}"),
            "same": same.replace(f"response1:{answer}", "response1:{first}").replace(
                f"response2: {answer}", "response2: {second}"
            ),
        }
    elif name == "mmhal-bench":
        text = read("mmhal_bench/judge_request_example.json")["messages"][0]["content"]
        row = read("mmhal_bench/response_template.json")[0]
        head, _, tail = text.rpartition("### Image Contents\n")
        tail = tail.replace(row["image_content"][0] + "\n", "{objects}\n", 1).replace(row["question"], "{question}")
        tail = tail.replace(row["gt_answer"], "{truth}").replace("Invented answer 0.", "{answer}")
        texts = {"message": f"{head}### Image Contents\n{tail}"}
    else:
        system, text = (one["content"] for one in read("mmvp/judge_request_example.json")["messages"])
        row = json.loads((DATA / "mmvp/answers.jsonl").read_text().splitlines()[0])
        text = text.replace(row["prompt"], "{question}").replace(f"answer is {row['answer']}.", "answer is {truth}.")
        texts = {"system": system, "message": text.replace(f"answer:{row['response']}?", "answer:{answer}?")}
    return Wording(texts, judging(name).official)


def found(values, name: str):
    if isinstance(values, dict):
        if name in values:
            return values[name]
        return next((one for value in values.values() if (one := found(value, name))), None)
    return None


class Recorder:
    """Keeps every request, and says something that each benchmark can read."""

    def __init__(self, text: str = "1"):
        self.asked: list[Request] = []
        self.text = text

    def __call__(self, request: Request) -> Reply:
        self.asked.append(request)
        return Reply(self.text)

    @property
    def hashes(self) -> list[str]:
        return [sha256(user_message(request)) for request in self.asked]


@pytest.mark.parametrize("name", ["llava-bench", "mm-vet", "hallusionbench", "mmhal-bench", "mmvp"])
def test_the_official_wording_is_known_by_its_hashes(name):
    assert wording(name).altered == []


@pytest.mark.parametrize("answers", ["answers_llava-v1.5-7b.jsonl", "answers_bing_chat_0629.jsonl"])
def test_messages_of_llava_bench(answers):
    part, sent = judging("llava-bench"), Recorder("8 9")
    folder = DATA / "llava_bench_w"
    judge_all(part, part.items(folder / answers, folder), wording("llava-bench"), sent)
    expected = read("llava_bench_w/expected.json")["judge_requests"][answers]
    assert sent.hashes == expected["user_sha256"]
    assert {(one.temperature, one.max_tokens) for one in sent.asked} == {(0.2, 1024)}
    assert {one.messages[0]["content"] for one in sent.asked} == {expected["system"]}


def test_messages_of_mm_vet():
    part, sent = judging("mm-vet"), Recorder("0.5")
    folder = DATA / "mm_vet"
    judge_all(part, part.items(folder / "answers_llava-v1.5-7b.json", folder), wording("mm-vet"), sent)
    expected = read("mm_vet/expected.json")["judge_requests"]["answers_llava-v1.5-7b.json"]["user_sha256"]
    hashes = {request.item: digest for request, digest in zip(sent.asked, sent.hashes, strict=True)}
    assert {name: hashes[name] for name in expected} == expected
    assert {(one.temperature, one.max_tokens, len(one.messages)) for one in sent.asked} == {(0.0, 3, 1)}


def test_messages_of_hallusionbench():
    part, sent = judging("hallusionbench"), Recorder("correct")
    folder = DATA / "hallusionbench"
    judge_all(part, part.items(folder / "judged_mixed.jsonl", folder), wording("hallusionbench"), sent)
    expected = read("hallusionbench/expected.json")["judge_requests"]["judged_mixed.jsonl"]["user_sha256_in_call_order"]
    first = [digest[:16] for request, digest in zip(sent.asked, sent.hashes, strict=True) if request.turn == 0]
    second = [digest[:16] for request, digest in zip(sent.asked, sent.hashes, strict=True) if request.turn == 1]
    visual = sum(item.facts["row"]["category"] == "VD" for item in part.items(folder / "judged_mixed.jsonl", folder))
    in_order = [*first[:visual], *second[:visual], *first[visual:], *second[visual:]]
    assert in_order == expected
    assert {(one.temperature, one.max_tokens) for one in sent.asked} == {(None, None)}


def test_messages_of_mmhal_bench(tmp_path):
    rows = read("mmhal_bench/response_template.json")
    answers = tmp_path / "answers.json"
    answers.write_text(json.dumps([{**row, "model_answer": f"Invented answer {i}."} for i, row in enumerate(rows)]))
    part, sent = judging("mmhal-bench"), Recorder("Rating: 3")
    judge_all(part, part.items(answers, None), wording("mmhal-bench"), sent)
    assert sent.hashes == read("mmhal_bench/expected.json")["judge_requests"]["user_sha256"]


def test_messages_of_mmvp():
    part, sent = judging("mmvp"), Recorder("yes")
    judge_all(part, part.items(DATA / "mmvp/answers.jsonl", None), wording("mmvp"), sent)
    expected = read("mmvp/expected.json")["judge_requests"]
    assert sent.hashes == expected["user_sha256"]
    assert {one.messages[0]["content"] for one in sent.asked} == {expected["system"]}


@pytest.mark.parametrize("case", ["odd_stream", "retries_exhausted"])
def test_mm_vet_asks_again_as_the_official_script_does(case, tmp_path):
    expected = read("mm_vet/expected.json")[case]
    stream = read(f"mm_vet/{expected['file']}") if "file" in expected else expected
    replies = iter(stream["replies"])
    asked = []

    def ask(request):
        asked.append(request.temperature)
        return Reply(next(replies))

    folder, part = DATA / "mm_vet", judging("mm-vet")
    items = {item.id: item for item in part.items(folder / "answers_llava-v1.5-7b.json", folder)}
    chosen = [items[name] for name in stream["questions"]]
    (records,) = judge_all(part, chosen, wording("mm-vet"), ask).runs
    assert asked == expected["temperatures"]
    assert {name: record["score"] for name, record in records.items()} == expected["scores"]
    assert {name: record["content"] for name, record in records.items()} == expected["contents"]


def test_recorded_replies_give_the_official_figures(tmp_path):
    folder = DATA / "llava_bench_w"
    part = judging("llava-bench")
    items = part.items(folder / "answers_llava-v1.5-7b.jsonl", folder)
    reviews = folder / "reviews_llava-v1.5-7b_1.jsonl"
    out = tmp_path / "review.jsonl"
    part.write(out, items, judge_all(part, items, wording("llava-bench"), part.recorded(reviews, items)).runs)
    assert llava_bench.score(out) == llava_bench.score(reviews)

    folder, part = DATA / "mm_vet", judging("mm-vet")
    items = part.items(folder / "answers_llava-v1.5-7b.json", folder)
    grades = folder / "grades_llava-v1.5-7b_3runs.json"
    runs = judge_all(part, items, wording("mm-vet"), part.recorded(grades, items), runs=3).runs
    part.write(tmp_path / "grades.json", items, runs)
    names = ("total", "std", "runs", "capabilities", "combinations")
    ours, official = (mm_vet.score(folder / "mm-vet.json", one) for one in (tmp_path / "grades.json", grades))
    assert [ours[name] for name in names] == [official[name] for name in names]

    part = judging("mmvp")
    items = part.items(DATA / "mmvp/answers.jsonl", None)
    replies = DATA / "mmvp/judge_replies.json"
    part.write(tmp_path / "r.json", items, judge_all(part, items, wording("mmvp"), part.recorded(replies, items)).runs)
    assert mmvp.score(DATA / "mmvp/answers.jsonl", tmp_path / "r.json")["pair_accuracy"] == pytest.approx(
        read("mmvp/expected.json")["pair_accuracy"]
    )

    rows = [{**row, "model_answer": "x"} for row in read("mmhal_bench/response_template.json")]
    (tmp_path / "answers.json").write_text(json.dumps(rows))
    part = judging("mmhal-bench")
    items = part.items(tmp_path / "answers.json", None)
    replies = DATA / "mmhal_bench/judge_replies_odd_synthetic.json"
    runs = judge_all(part, items, wording("mmhal-bench"), part.recorded(replies, items)).runs
    part.write(tmp_path / "m.json", items, runs)
    assert mmhal_bench.score(tmp_path / "m.json")["average_score"] == mmhal_bench.score(replies)["average_score"]


def test_a_missing_recorded_reply_names_its_item(tmp_path):
    folder, part = DATA / "llava_bench_w", judging("llava-bench")
    items = part.items(folder / "answers_llava-v1.5-7b.jsonl", folder)
    lines = (folder / "reviews_llava-v1.5-7b_1.jsonl").read_text().splitlines()
    short = tmp_path / "short.jsonl"
    short.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(InputError, match="no recorded reply for 59"):
        judge_all(part, items, wording("llava-bench"), part.recorded(short, items))
