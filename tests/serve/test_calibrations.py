"""From labelled pictures to a guard over the API, within the limits of who runs the server."""

from __future__ import annotations

import io
import json
import time
import zipfile

import httpx
import pytest

import lvlm_saliency as ls
from lvlm_saliency.errors import InputError
from lvlm_saliency.interventions.preset_files import load_preset
from lvlm_saliency.scenes import draw_scene, generate_scenes
from lvlm_saliency.serve.calibrations import store
from lvlm_saliency.serve.calibrations.labels import in_singular

from .conftest import PATH, QUESTION, asking, data_url, refused, running

CALIBRATIONS = "/v1/calibrations"
PICTURES = 40


def labelled(scene):
    """A text about a drawn scene, which names what is there and one thing that is not."""
    there = sorted({one.name for one in scene.objects})[:2]
    absent = next(name for name in ("boat", "dog", "cup", "tree", "car") if name not in {o.name for o in scene.objects})
    text, spans = "There is", []
    for name in [*there, absent]:
        text += f" a {name}."[:3]
        spans.append({"start": len(text), "end": len(text) + len(name), "hallucinated": name == absent, "name": name})
        text += f"{name}. There is" if name != absent else f"{name}."
    return {"prompt": QUESTION, "text": text, "spans": spans}


@pytest.fixture(scope="module")
def scenes():
    return generate_scenes(PICTURES, 4711)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("guards")


@pytest.fixture(scope="module")
def server(chat, folder):
    with running(chat, calibrations=folder) as found:
        yield found


def begin(server):
    return server.post(CALIBRATIONS, {}).raise_for_status().json()["id"]


def brought(server, scenes):
    """A calibration with all of these pictures in it."""
    name = begin(server)
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for scene in scenes:
            body = {"image": data_url(draw_scene(scene)), "texts": [labelled(scene)]}
            client.post(f"{CALIBRATIONS}/{name}/pictures", json=body).raise_for_status()
    return name, body


def view(server, name):
    return httpx.get(f"{server.url}{CALIBRATIONS}/{name}").json()


def until(server, name, *statuses):
    end = time.monotonic() + 300
    while (found := view(server, name))["status"] not in statuses:
        assert time.monotonic() < end, found
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def calibrated(server, scenes):
    """A calibration that is finished, and what its client saw on the way."""
    (name, body), seen = brought(server, scenes), []
    refused(server.post(f"{CALIBRATIONS}/{name}/start", {"recall_loss": 0.01}), 400, "promise nothing about losing")
    assert server.post(f"{CALIBRATIONS}/{name}/start", {"recall_loss": 0.1}).json()["status"] in ("waiting", "running")
    refused(server.post(f"{CALIBRATIONS}/{name}/start", {}), 409, "begin another")
    refused(server.post(f"{CALIBRATIONS}/{name}/pictures", body), 409, "takes no more pictures")
    answers = 0
    while (now := view(server, name))["status"] in ("waiting", "running"):
        seen.append((now["stage"], now["done"], now["total"]))
        answer = server.post(PATH, {"messages": asking(draw_scene(scenes[0])), "max_tokens": 3})
        answers += answer.status_code == 200
    return now, seen, answers


def test_fifty_pictures_make_a_guard_while_answers_go_on(server, calibrated, folder, scenes):
    found, seen, answers = calibrated
    assert found["status"] == "finished", found
    assert found["guard"] == "guard-1"
    assert any(total and 0 < done <= total for _, done, total in seen), "progress is told"
    assert answers >= 2, "others are answered meanwhile"
    for share in found["reached"].values():
        value, *interval = share
        assert 0 <= value <= 1
        assert interval == [None, None], "eight pictures have no interval"
    assert httpx.get(f"{server.url}/v1/models").json()["data"][0]["lvlm_saliency"]["guards"] == ["guard-1"]
    body = {"messages": asking(draw_scene(scenes[0])), "max_tokens": 40, "lvlm_saliency": {"methods": ["guard-1"]}}
    answer = server.post(PATH, body).raise_for_status().json()["choices"][0]
    expected = load_preset(folder / "guard-1" / "guard.yaml")
    assert [one.name for one in expected] == ["guard"]
    query = ls.Query(QUESTION, [draw_scene(scenes[0])])
    from lvlm_saliency.serve.rows import sample_id

    own = {"max_new_tokens": 40, "sample_ids": [sample_id(0, 0)]}
    assert answer["message"]["content"] == server.chat.ask([query], expected, **own)[0].text
    assert answer["lvlm_saliency"]["events"]


def test_pictures_and_labels_are_gone_when_it_is_finished(calibrated, folder):
    names = {file.name for file in folder.rglob("*")}
    assert not any(name.endswith(".picture") or name.startswith("open-") for name in names)
    assert not {"labels.jsonl", "kept", "pictures"} & names


def test_the_guard_can_be_taken_away(server, calibrated, tmp_path, chat):
    answer = httpx.get(f"{server.url}{CALIBRATIONS}/{calibrated[0]['id']}/guard.zip")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        archive.extractall(tmp_path)
    (guard,) = load_preset(tmp_path / "guard-1" / "guard.yaml")
    guard.check_model(chat.model)
    assert guard.risk == "off"
    assert (tmp_path / "guard-1" / "page.html").exists()
    for file in (tmp_path / "guard-1").iterdir():
        assert str(tmp_path.parent) not in file.read_text(encoding="utf-8"), "no folder of the server is told"


def test_guards_are_offered_again_after_a_restart(chat, calibrated, folder, server, scenes):
    other = folder.parent / "copied"
    import shutil

    shutil.copytree(folder, other)
    (other / "open-0123456789abcdef" / "pictures").mkdir(parents=True)
    with running(chat, calibrations=other) as again:
        assert again.client().models.list().data[0].lvlm_saliency["guards"] == ["guard-1"]
        assert not (other / "open-0123456789abcdef").exists(), "what a killed server left is removed"
        body = {"messages": asking(draw_scene(scenes[1])), "max_tokens": 4, "lvlm_saliency": {"methods": ["guard-1"]}}
        assert again.post(PATH, body).status_code == 200
    with pytest.raises(InputError, match="another server keeps its guards"):
        store.Calibrations(folder, chat.model, chat.tokenizer)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": "https://example.com/x.png"}, "data URL"),
        ({"image": "/etc/passwd"}, "data URL"),
        ({"image": "data:image/png;base64,AAAA"}, "picture"),
        ({"texts": []}, "1 to 32"),
        ({"texts": [{"prompt": "x", "text": "a dog"}]}, "prompt, text and spans"),
        ({"texts": [{"prompt": "x", "text": "a dog", "spans": [], "image": "../x"}]}, "prompt, text and spans"),
        ({"path": "/tmp"}, "unknown field"),
    ],
)
def test_what_a_client_may_not_send(server, change, words):
    name = begin(server)
    good = {
        "image": data_url(draw_scene(generate_scenes(1, 1)[0])),
        "texts": [{"prompt": "x", "text": "a", "spans": []}],
    }
    refused(server.post(f"{CALIBRATIONS}/{name}/pictures", {**good, **change}), 400, words)
    assert httpx.delete(f"{server.url}{CALIBRATIONS}/{name}").json()["status"] == "given up"


@pytest.mark.parametrize(
    ("span", "words"),
    [
        ({"start": 2, "end": 99, "hallucinated": True, "name": "dog"}, "holds no word"),
        ({"start": 2, "end": 5, "hallucinated": "yes", "name": "dog"}, "true or false"),
        ({"start": 2, "end": 5, "hallucinated": True, "name": "dog,cat\nbird"}, "must be words"),
        ({"start": 2, "end": 5, "hallucinated": True, "name": "../../x"}, "must be words"),
        ({"start": 2, "end": 5, "hallucinated": True, "name": "x" * 99}, "must be words"),
    ],
)
def test_spans_are_checked_at_once(server, folder, span, words):
    name = begin(server)
    body = {"image": data_url(draw_scene(generate_scenes(1, 1)[0])),
            "texts": [{"prompt": "x", "text": "a dog.", "spans": [span]}]}  # fmt: skip
    error = refused(server.post(f"{CALIBRATIONS}/{name}/pictures", body), 400, words)
    assert str(folder) not in json.dumps(error)
    assert view(server, name)["pictures"] == 0
    httpx.delete(f"{server.url}{CALIBRATIONS}/{name}")


def test_too_few_pictures_and_too_many_calibrations(server, monkeypatch):
    names = [begin(server) for _ in range(store.MOST_OPEN)]
    refused(server.post(CALIBRATIONS, {}), 409, "under way")
    refused(server.post(f"{CALIBRATIONS}/{names[0]}/start", {}), 400, "too few (at least 40")
    monkeypatch.setattr(store, "MOST_PICTURES", 0)
    body = {
        "image": data_url(draw_scene(generate_scenes(1, 1)[0])),
        "texts": [{"prompt": "x", "text": "a", "spans": []}],
    }
    refused(server.post(f"{CALIBRATIONS}/{names[0]}/pictures", body), 413, "at most")
    refused(httpx.get(f"{server.url}{CALIBRATIONS}/{names[0]}/guard.zip"), 409, "no guard")
    for name in names:
        httpx.delete(f"{server.url}{CALIBRATIONS}/{name}")
    refused(httpx.get(f"{server.url}{CALIBRATIONS}/none"), 404, "no such calibration")


def test_nobody_calibrates_where_the_operator_does_not_say_so(chat):
    with running(chat) as plain:
        refused(plain.post(CALIBRATIONS, {}), 403, "--calibrations DIR")
        refused(httpx.get(f"{plain.url}{CALIBRATIONS}/x"), 403, "--calibrations DIR")
        assert plain.client().models.list().data[0].lvlm_saliency["calibrates"] is False
        refused(plain.post(PATH, {"messages": asking(draw_scene(generate_scenes(1, 1)[0])),
                                  "lvlm_saliency": {"methods": ["guard-1"]}}), 400, "guard-1")  # fmt: skip


def test_one_that_is_given_up_while_it_runs_ends(server, scenes):
    name, _ = brought(server, scenes)
    server.post(f"{CALIBRATIONS}/{name}/start", {"recall_loss": 0.1}).raise_for_status()
    httpx.delete(f"{server.url}{CALIBRATIONS}/{name}")
    assert until(server, name, "given up", "finished")["guard"] is None
    answer = server.post(PATH, {"messages": asking(draw_scene(scenes[0])), "max_tokens": 2})
    assert answer.status_code == 200


def test_plurals_go_under_the_singular_that_is_there():
    rows = [{"spans": [{"name": "dogs"}, {"name": "boxes"}]}, {"spans": [{"name": "dog"}, {"name": "glasses"}]}]
    names = [span["name"] for row in in_singular(rows) for span in row["spans"]]
    assert names == ["dog", "boxes", "dog", "glasses"]
