"""`lvlm-saliency reproduce`, end to end on the shipped model in the official file layouts, and its verdicts."""

from __future__ import annotations

import json

import pytest
from transformers import AutoConfig

from lvlm_saliency.cli.app import run
from lvlm_saliency.errors import InputError
from lvlm_saliency.reproduce.claims import Measured, judged
from lvlm_saliency.reproduce.paper import LLAVA, MODELS, of_model, read_reported
from lvlm_saliency.scenes import draw_scene, generate_scenes, pope_questions
from lvlm_saliency.scenes.classes import CLASSES
from lvlm_saliency.studies.page import CANNOT_TELL, FAILS, HOLDS

N = 12


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    """Drawn scenes as COCO's and POPE's authors lay out their files."""
    root = tmp_path_factory.mktemp("coco")
    (root / "val2014").mkdir()
    scenes = generate_scenes(N, 5)
    names = [f"COCO_val2014_{number:012d}.jpg" for number in range(1, N + 1)]
    for name, scene in zip(names, scenes, strict=True):
        draw_scene(scene).save(root / "val2014" / name, quality=95)
    objects = {str(number): sorted(scene.present) for number, scene in enumerate(scenes, 1)}
    (root / "coco_objects.json").write_text(json.dumps(objects))
    (root / "synonyms.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    questions = pope_questions(scenes, names)
    for kind in ("random", "popular", "adversarial"):
        rows = [{k: v for k, v in row.items() if k != "category"} for row in questions if row["category"] == kind]
        (root / f"coco_pope_{kind}.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def command(coco, out, *more):
    places = ["--data", str(coco), "--images", str(coco / "val2014"), "--out", str(out)]
    return ["reproduce", "main", "--model", "scenes", *places, "--max-new-tokens", "12", "--resamples", "50", *more]


def test_the_main_table_on_files_in_the_official_layouts(coco, tmp_path, capsys):
    assert run([*command(coco, tmp_path / "out"), "--n", str(N), "--batch-size", "12", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["findings"]) == 9  # three ways of decoding, three claims each
    page = (tmp_path / "out/page.md").read_text()
    # The shipped model is of LLaVA's classes, so the paper's figures of LLaVA-1.5 stand beside its own.
    assert "48.0" in page
    assert "the paper: -9.6 points" in page
    rows = [json.loads(line) for line in (tmp_path / "out/figures.jsonl").read_text().splitlines()]
    scores = json.loads((tmp_path / "out/scenes/scores.json").read_text())["benchmarks"]
    greedy = scores["chair"]["parts"]["captions"]["greedy"]
    (here,) = [row for row in rows if row["system"] == "neither" and row["figure"] == "CHAIR_i"]
    assert here["here"] == pytest.approx(greedy["figures"]["CHAIR_i"])
    assert here["paper"] == 13.9
    assert scores["pope"]["parts"]["all"]["greedy"]["figures"]["accuracy"] > 0.5


def test_what_is_missing_is_said_before_anything_runs(coco, tmp_path, capsys):
    words = command(coco, tmp_path / "out")
    words[words.index("--data") + 1] = str(tmp_path)
    assert run(words) == 2
    err = capsys.readouterr().err
    assert "nothing was run" in err
    for part in ("synonyms", "coco_pope_random", "instances_val2014"):
        assert part in err
    assert not (tmp_path / "out").exists()
    assert run(["reproduce", "cross-model", "--model", "scenes", "--on", "scenes", "--out", str(tmp_path / "o")]) == 2
    assert "at least 2 models" in capsys.readouterr().err
    assert run(["reproduce", "mian", "--model", "scenes", "--out", str(tmp_path / "o")]) == 2
    assert "did you mean 'main'" in capsys.readouterr().err
    assert run(["reproduce", "main", "--model", "./nowhere", "--on", "scenes", "--out", str(tmp_path / "o")]) == 2
    assert "no such folder" in capsys.readouterr().err


@pytest.mark.parametrize("columns", [60, 80, 160])
def test_the_list_keeps_within_the_terminal(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run(["reproduce", "--list"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= columns
    assert "questions, adversarial negatives" in " ".join(out.split())


def test_list(capsys):
    assert run(["reproduce", "--list", "--json"]) == 0
    names = [row["name"] for row in json.loads(capsys.readouterr().out)]
    assert names == ["main", "cross-model", "ablation", "scienceqa", "vizwiz", "quartiles", "decay", "latency"]


def measured(difference, low, high, pictures=100):
    return {"difference": difference, "interval": [low, high], "pictures": pictures}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (measured(-0.09, -0.12, -0.05), HOLDS),
        (measured(0.05, 0.01, 0.09), FAILS),  # the other side
        (measured(0.0, -0.02, 0.02), FAILS),  # no difference shown, and the paper's 9.6 points left out
        (measured(-0.03, -0.12, 0.05), CANNOT_TELL),  # too wide to tell
        (measured(-0.09, -0.12, -0.05, pictures=3), CANNOT_TELL),
        (None, CANNOT_TELL),
    ],
)
def test_verdicts(found, expected):
    finding = judged(LLAVA.rows[1], "CHAIR_s", Measured(found, None), LLAVA)
    assert finding.verdict == expected
    assert "-9.6 points" in finding.text


def test_without_the_papers_figures_only_the_direction_is_judged():
    flat = Measured(measured(0.0, -0.02, 0.02), measured(0.01, -0.02, 0.03))
    finding = judged(LLAVA.rows[2], "f1", flat, None)
    assert finding.verdict == CANNOT_TELL
    assert "equal length" in finding.text


def configuration(kind, width):
    return AutoConfig.for_model(kind, text_config={"model_type": "llama", "hidden_size": width})


def test_the_papers_rows():
    assert of_model(configuration("llava", 4096)) is LLAVA
    assert of_model(configuration("llava", 5120)).base.value("image_accuracy") == 71.6
    assert of_model(configuration("llava", 64)).rows == LLAVA.rows
    assert "whose width is 4096 and not 64" in of_model(configuration("llava", 64)).model
    assert of_model(configuration("llava_next", 4096)) is None
    for model in MODELS:
        assert not model.base.spec
        assert [bool(row.alpha) + bool(row.beta) for row in model.rows] == [0, 1, 1, 2]
        for row in (*model.rows, *model.further):
            assert len(row.values) in (0, 4, 8)
            assert all(0 < value < 100 for value in row.values)
    # the gains that table 2 prints beside its figures
    both = LLAVA.rows[3]
    gains = [both.value(name) - LLAVA.base.value(name) for name in ("relative", "total", "fraction", "image_accuracy")]
    assert gains == pytest.approx([4.2, 5.5, 6.4, 2.3])
    assert LLAVA.rows[2].value("relative") is None


def test_figures_of_a_file(tmp_path):
    file = tmp_path / "paper.yaml"
    rows = [
        {"alpha": 0, "beta": 0, "CHAIR_s": 46.6, "f1": 85.3},
        {"alpha": 0.6, "beta": 0.15, "CHAIR_s": 34.4, "f1": 87.6, "fraction": 56.2},
    ]

    def written(rows, **more):
        file.write_text(json.dumps({"model": "InternVL-7B", "rows": rows, **more}))
        return read_reported(file)

    found = written(rows)
    assert found.model == "InternVL-7B"
    assert [row.spec for row in found.rows] == ["", "sgrs:alpha=0.6+locore:beta=0.15"]
    assert (found.base.value("CHAIR_s"), found.base.value("CHAIR_i")) == (46.6, None)
    assert found.rows[1].value("fraction") == 56.2
    lone, other = rows
    strange = [{**other, "f1": "high"}, {**other, "F1": 3}, {"alpha": 0.6}, {**other, "f1": -1}, lone]
    for wrong in ([lone], [other, lone], "rows", *([lone, row] for row in strange)):
        with pytest.raises(InputError, match=r"paper\.yaml"):
            written(wrong)
    with pytest.raises(InputError):
        written(rows, more=1)


def test_figures_of_a_file_stand_beside_a_run(coco, tmp_path, capsys):
    (tmp_path / "paper.yaml").write_text(
        json.dumps(
            {"model": "Other", "rows": [{"alpha": 0, "beta": 0, "f1": 77.7}, {"alpha": 0, "beta": 0.3, "f1": 79}]}
        )
    )
    words = command(coco, tmp_path / "out", "--n", "6", "--batch-size", "12", "--paper", str(tmp_path / "paper.yaml"))
    assert run(words) == 0
    page = (tmp_path / "out/page.md").read_text()
    assert "77.7" in page
    assert "Beside the published figures of Other" in page
    assert "the paper: +1.3 points" in page
    assert run(["reproduce", "decay", "--model", "scenes", "--out", str(tmp_path), "--paper", "x"]) == 2
    assert "--paper" in capsys.readouterr().err


def test_scienceqa_in_its_official_layout(tmp_path, capsys):
    scenes = generate_scenes(4, 5)
    problems = {}
    for number, scene in enumerate(scenes, 1):
        seen = number < 4
        if seen:
            (tmp_path / "test" / str(number)).mkdir(parents=True)
            draw_scene(scene).save(tmp_path / "test" / str(number) / "image.png")
        problems[str(number)] = {
            "question": "Which is there ?", "choices": ["a dog", "a cat"], "answer": 0, "hint": "", "split": "test",
            "image": "image.png" if seen else None, "task": "", "grade": "grade2", "subject": "natural science",
            "topic": "biology", "category": "", "skill": "", "lecture": "", "solution": "",
        }  # fmt: skip
    (tmp_path / "problems.json").write_text(json.dumps(problems))
    (tmp_path / "pid_splits.json").write_text(json.dumps({"test": list(problems)}))
    words = ["reproduce", "scienceqa", "--model", "scenes", "--out", str(tmp_path / "out"), "--resamples", "50"]
    assert run([*words, "--data", str(tmp_path)]) == 2
    assert "pictures" in capsys.readouterr().err
    words += ["--max-new-tokens", "4"]
    assert run([*words, "--data", str(tmp_path), "--images", str(tmp_path / "test"), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["findings"]) == 3
    page = (tmp_path / "out/page.md").read_text()
    assert "65.5" in page
    assert "whose width is 4096" in page
    assert run([*words, "--on", "scenes"]) == 2
    assert "has no questions about the drawn scenes" in capsys.readouterr().err
