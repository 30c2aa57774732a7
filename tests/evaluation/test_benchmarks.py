"""Items, fixed prompts and files of every benchmark."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from lvlm_saliency.benchmarks import sources
from lvlm_saliency.benchmarks.opening import open_benchmark
from lvlm_saliency.benchmarks.registry import runnable
from lvlm_saliency.errors import ImageError, InputError, SettingError

DESCRIBE = "Please describe this image in detail."
SHORT = "\nAnswer the question using a single word or phrase."


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("COCO_val2014_000000000007.jpg", "COCO_val2014_000000000042.jpg", "AMBER_1.jpg", "AMBER_2.jpg"):
        Image.new("RGB", (20, 20), "blue").save(folder / name)
    return folder


@pytest.fixture
def pope(tmp_path, pictures):
    for kind in ("random", "popular", "adversarial"):
        rows = [
            {"question_id": 1, "image": "COCO_val2014_000000000007.jpg", "text": "Is there a dog?", "label": "yes"},
            {"question_id": 2, "image": "COCO_val2014_000000000007.jpg", "text": "Is there a cat?", "label": "no"},
            {"question_id": 3, "image": "COCO_val2014_000000000042.jpg", "text": "Is there a bus?", "label": "no"},
        ]
        write_rows(tmp_path / f"data/output/coco/coco_pope_{kind}.json", rows)
    return {"data": tmp_path / "data", "images": pictures}


@pytest.fixture
def chair(tmp_path, pictures):
    data = tmp_path / "data"
    data.mkdir(exist_ok=True)
    (data / "synonyms.txt").write_text("person, man, woman\ndog, puppy\ncat, kitten\n")
    (data / "coco_objects.json").write_text(json.dumps({"42": ["dog", "person"], "7": ["cat"]}))
    return {"data": data, "images": pictures}


@pytest.fixture
def mme(tmp_path):
    root = tmp_path / "MME"
    for name in ("0001", "0002"):
        (root / "existence").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20)).save(root / f"existence/{name}.png")
        lines = ["Is there a dog? Please answer yes or no.\tYes", "Is there a cat? Please answer yes or no.\tNo"]
        (root / f"existence/{name}.txt").write_text("\n".join(lines))
    (root / "landmark/images").mkdir(parents=True)
    (root / "landmark/questions_answers_YN").mkdir()
    Image.new("RGB", (20, 20)).save(root / "landmark/images/tower.jpg")
    lines = ["Is it a tower? Please answer yes or no.\tYes", "Is it a lake? Please answer yes or no.\tNo"]
    (root / "landmark/questions_answers_YN/tower.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def amber(tmp_path, pictures):
    data = tmp_path / "data"
    queries = [{"id": i, "image": f"AMBER_{i}.jpg", "query": "Describe this image."} for i in (1, 2)]
    asked = [{"id": 3, "image": "AMBER_1.jpg", "query": "Is there a sun in this image?"}]
    annotations = [
        {"id": 1, "type": "generative", "truth": ["dog"], "hallu": ["cat"]},
        {"id": 2, "type": "generative", "truth": ["cat"], "hallu": ["dog"]},
        {"id": 3, "type": "discriminative-hallucination", "truth": "no"},
    ]
    for name, rows in (
        ("query/query_generative", queries),
        ("query/query_discriminative", asked),
        ("annotations", annotations),
    ):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / f"{name}.json").write_text(json.dumps(rows))
    (data / "relation.json").write_text(json.dumps({"dog": ["puppy"], "cat": []}))
    (data / "safe_words.txt").write_text("light\n")
    return {"data": data, "images": pictures}


def test_prompts_are_these(pope, chair, mme, amber):
    """A changed word changes figures that have been published: change these only with a reason."""
    opened = {
        "scenes-caption": open_benchmark("scenes-caption", n=1),
        "scenes-pope": open_benchmark("scenes-pope", n=1),
        "pope": open_benchmark("pope:kinds=popular", n=1, **pope),
        "chair": open_benchmark("chair", n=1, **chair),
        "mme": open_benchmark("mme:tasks=existence", n=1, data=mme),
        "amber": open_benchmark("amber:similarity=equal", n=1, **amber),
    }
    later = {"llava-bench", "mm-vet", "vizwiz", "scienceqa", "hallusionbench", "mmhal-bench", "mmvp"}
    assert set(opened) | later == set(runnable())  # the later ones: test_more_benchmarks.py
    prompts = {name: [item.prompt for item in benchmark.items] for name, benchmark in opened.items()}
    assert prompts.pop("scenes-pope")[:4] == SCENES_POPE
    assert prompts == {
        "scenes-caption": [DESCRIBE],
        "pope": ["Is there a dog?" + SHORT, "Is there a cat?" + SHORT],
        "chair": [DESCRIBE],
        "mme": ["Is there a dog? Please answer yes or no.", "Is there a cat? Please answer yes or no."],
        "amber": ["Describe this image.", "Is there a sun in this image?" + SHORT],
    }


SCENES_POPE = [
    "Is there a kite in the image?",
    "Is there an apple in the image?",
    "Is there a boat in the image?",
    "Is there a pot in the image?",
]


def test_pope_keeps_the_order_of_its_files_and_counts_pictures(pope):
    benchmark = open_benchmark("pope", n=1, **pope)
    assert [item.id for item in benchmark.items] == [
        f"{k}/{i}" for k in ("random", "popular", "adversarial") for i in (1, 2)
    ]
    result = benchmark.score({item.index: text for item, text in zip(benchmark.items, ["Yes", "No"] * 3, strict=True)})
    assert list(result) == ["random", "popular", "adversarial", "all"]
    assert result["all"]["accuracy"] == 1
    assert result["random"]["questions"] == 2


def test_pope_parser_is_a_setting(pope):
    answers = dict.fromkeys(range(9), "There isn't one.")
    ratios = {
        p: open_benchmark(f"pope:parser={p}", **pope).score(answers)["all"]["yes_ratio"] for p in ("official", "opera")
    }
    assert ratios == {"official": 1.0, "opera": 0.0}


def test_chair_takes_images_from_the_truth_or_from_a_list(chair, tmp_path):
    assert [item.id for item in open_benchmark("chair", **chair).items] == ["42", "7"]
    chosen = tmp_path / "list.txt"
    chosen.write_text("7\nCOCO_val2014_000000000042.jpg\n")
    benchmark = open_benchmark(f"chair:image_list={chosen}", **chair)
    assert [item.id for item in benchmark.items] == ["7", "42"]
    assert benchmark.picture(benchmark.items[0]).size == (20, 20)
    result = benchmark.score({0: "a dog and a man", 1: "a dog and a man"})["captions"]
    assert (result["CHAIR_s"], result["CHAIR_i"], result["recall"]) == (0.5, 0.5, 2 / 3)


def test_chair_needs_truth_of_every_image(chair, tmp_path):
    chosen = tmp_path / "list.txt"
    chosen.write_text("7\n8\n")
    with pytest.raises(InputError, match="image 8 has no ground truth"):
        open_benchmark(f"chair:image_list={chosen}", **chair).check()


def test_mme_reads_both_layouts_of_the_release(mme):
    benchmark = open_benchmark("mme:tasks=existence/landmark", data=mme)
    assert [item.image for item in benchmark.items] == [
        name for name in ("existence/0001.png", "existence/0002.png", "landmark/tower.jpg") for _ in range(2)
    ]
    assert all(benchmark.picture(item).size == (20, 20) for item in benchmark.items)
    result = benchmark.score(dict(enumerate(["Yes", "No\nsure", "yes", "yes", "Yes", "No"])))["answers"]
    assert {task: entry["score"] for task, entry in result["tasks"].items()} == {"existence": 125.0, "landmark": 200.0}


def test_mme_scores_answers_that_hold_line_ends_and_tabs(mme):
    """The official layout is one line an answer; a CR is no end of one."""
    benchmark = open_benchmark("mme:tasks=existence/landmark", data=mme)
    plain = benchmark.score(dict(enumerate(["Yes", "No", "yes", "yes", "Yes", "No"])))["answers"]["per_image"]
    answers = ["Yes\r\nit is", "No\rreally", "yes\r", "yes\t\u2028\x85", "Yes\x0b\x1c", "No\r\r\n"]
    assert benchmark.score(dict(enumerate(answers)))["answers"]["per_image"] == plain


def test_mme_counts_pictures_of_each_task_and_leaves_out_halves(mme):
    benchmark = open_benchmark("mme:tasks=existence/landmark", n=1, data=mme)
    assert len(benchmark.items) == 4
    result = benchmark.score({0: "Yes", 1: "No", 2: "Yes"})["answers"]
    assert list(result["tasks"]) == ["existence"]


def test_mme_refuses_a_task_whose_lines_do_not_pair(mme):
    (mme / "existence/0001.txt").write_text("Is there a dog?\tYes\n")
    with pytest.raises(InputError, match="two successive questions"):
        open_benchmark("mme:tasks=existence", data=mme).check()


def test_amber_scores_descriptions_and_answers_apart(amber, monkeypatch):
    from lvlm_saliency.benchmarks.amber import generative

    benchmark = open_benchmark("amber:similarity=equal", **amber)
    assert benchmark.captions() == {0, 1}
    split = str.split
    monkeypatch.setattr(
        generative.score_generative, "__kwdefaults__", {**generative.score_generative.__kwdefaults__, "nouns": split}
    )
    result = benchmark.score({0: "dog cat", 1: "puppy", 2: "No"})
    assert (result["generative"]["CHAIR"], result["discriminative"]["accuracy"]) == (2 / 3, 1.0)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("scene-caption", "did you mean 'scenes-caption'"),
        ("pope:parsr=opera", "did you mean 'parser'"),
        ("pope:parser=llava", "no parser 'llava'"),
        ("pope:kinds=rare", "no kind of negatives 'rare'"),
        ("chair:variant=new", "no CHAIR variant|no variant"),
        ("mme:tasks=eyes", "no task 'eyes'"),
        ("amber:parts=all", "no part 'all'"),
        ("pope+chair", "once for each"),
        ("scenes-caption:split=tets", "did you mean 'test'"),
        ("chair:split=val", "no split 'val'"),
        ("chair:offset=-1", "offset must be a whole number from 0"),
    ],
)
def test_unknown_names_say_what_is_known(spec, words):
    with pytest.raises(SettingError, match=words):
        open_benchmark(spec)


@pytest.mark.parametrize("name", ["pope", "chair", "mme", "amber"])
def test_missing_files_are_named_before_a_model_runs(name, tmp_path):
    with pytest.raises(InputError, match=r"--data|--images"):
        open_benchmark(name).check()
    with pytest.raises(InputError, match=name):
        open_benchmark(name, data=tmp_path, images=tmp_path).check()


def test_a_missing_picture_is_an_image_error(pope):
    benchmark = open_benchmark("pope", **{**pope, "images": pope["data"]})
    with pytest.raises(ImageError, match="COCO_val2014_000000000007"):
        benchmark.picture_digest(benchmark.items[0])


def test_check_finds_what_is_there(pope, chair, tmp_path):
    found = sources.check("pope", **pope)
    assert sources.complete(found)
    assert all(one.path for one in found)
    assert not sources.complete(sources.check("pope", pope["data"]))
    chair_found = sources.check("chair", **chair)
    assert sources.complete(chair_found)  # the prepared file stands for the annotations
    (chair["data"] / "coco_objects.json").unlink()
    assert not sources.complete(sources.check("chair", **chair))
    assert sources.complete(sources.check("scenes-pope"))
