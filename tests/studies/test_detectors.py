"""The comparison of detectors: planted truths are found, position in disguise is named, pictures are kept apart."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from lvlm_saliency.cli import main
from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.stats.clusters import Estimate
from lvlm_saliency.studies.areas import Draws, simultaneous
from lvlm_saliency.studies.detect.published import fits
from lvlm_saliency.studies.detect.published.compare import ALL, FIRST
from lvlm_saliency.studies.detect.published.cost import Cost
from lvlm_saliency.studies.detect.published.differences import by_class
from lvlm_saliency.studies.detect.published.judge import POOLED, Sample
from lvlm_saliency.studies.detect.published.kept import Fits
from lvlm_saliency.studies.detect.published.lost import lost_pairs
from lvlm_saliency.studies.detect.published.page import page
from lvlm_saliency.studies.detect.published.rows import CLASSES, chosen, rows_of
from lvlm_saliency.studies.detect.published.study import Published, judged

from .detector_words import ROWS, row, words

LAB = SimpleNamespace(setup=lambda: {"model": "made up"})


@pytest.fixture(scope="module")
def planted():
    ways = {"greedy": words(5), "sample": words(6), "locore": words(7)}
    return judged(ROWS, ways, ["greedy", "sample"], 150, 0, costs={one.label: Cost(10.0, 1.5) for one in ROWS})


def value(results, label, which="auroc", key=(POOLED, FIRST)):
    return getattr(results.reached[label][key], which).value


def test_a_detector_that_reads_position_alone_falls_to_chance_within_it(planted):
    assert value(planted, "pas") > 0.65
    assert abs(value(planted, "pas", "in_position") - 0.5) < 0.08
    assert not planted.over["pas"]["in position"].excludes(0)
    assert planted.over["svar"]["in position"].low > 0
    assert value(planted, "position") == pytest.approx(value(planted, "pas"), abs=0.02)
    assert value(planted, "nll", "in_position") == pytest.approx(0.5, abs=0.08)


def test_where_it_is_read_and_who_is_above_whom(planted):
    assert planted.places["svar"].low > 0
    assert planted.ours["risk", "svar"].low > 0
    assert planted.ours["risk", "pas"].low > 0
    assert planted.ours_overall["risk", "nll"].low > 0
    assert {own for own, _ in planted.ours} == {"risk"}
    assert "risk" not in {other for _, other in planted.ours}


def test_who_wins_is_said_class_by_class_of_cost(planted):
    (line,) = by_class(planted).rows
    assert line[0].text.startswith("2: a backward pass")
    assert line[1].text.startswith("risk, ")
    assert line[2].text.startswith("probe (best of no higher cost), ")
    assert line[5].text == "risk"
    turned = replace(
        planted, ours={pair: Estimate(-one.value, -one.high, -one.low, one.n) for pair, one in planted.ours.items()}
    )
    assert by_class(turned).rows[0][5].text == "probe"


def test_the_shipped_risk_is_judged_as_it_stands(planted):
    assert set(planted.shipped["risk"]) == {"greedy", "sample", "locore"}
    assert all(one.ece.value < 1.3 * one.by_chance[1] for one in planted.shipped["risk"].values())
    loud = words(5)
    loud.scores["risk"][:] = np.where(loud.scores["risk"] > 0.5, 1.0, 0.0)
    found = judged([row("risk")], {"greedy": loud}, ["greedy"], 50, 0, costs={})
    assert found.shipped["risk"]["greedy"].ece.value > 0.08
    assert "as it stands" in page(LAB, found).findings[-1].text


def test_missing_scores_lower_the_coverage_and_nothing_else(planted):
    assert planted.reached["svar"][POOLED, FIRST].coverage == pytest.approx(0.9, abs=0.03)
    assert planted.reached["svar"][POOLED, FIRST].auroc.n < planted.counts[POOLED, FIRST][0]
    assert planted.reached["nll"][POOLED, FIRST].coverage == 1


def test_trained_rows_are_learned_on_other_pictures(planted):
    assert value(planted, "probe", "in_position") > 0.6
    assert planted.reached["probe"]["locore", FIRST].auroc.value > 0.6
    # A feature that gives every picture's label away to whoever has seen the picture helps nobody here.
    random = np.random.default_rng(0)
    one = words(4)
    number = np.unique(one.picture, return_inverse=True)[1]
    one.features["probe"][:] = random.normal(size=(80, 8))[number] * 50
    one.features["probe"][:, 0] = number
    ways = {"greedy": one}
    found = fits.cross_fitted(ROWS[4], ways, ["greedy"], fits.Folds.of(ways, 0), 0, Fits(None))
    sample = Sample.of([one], [one.first], 20, 0)
    assert abs(sample.reach(found["greedy"]).auroc.value - 0.5) < 0.12


def test_folds_never_part_a_picture():
    ways = {"greedy": words(1), "sample": words(2)}
    folds = fits.Folds.of(ways, 0)
    for some in ways.values():
        rows = folds.rows(some)
        assert all(len(set(rows[some.picture == name])) == 1 for name in set(some.picture))
    assert set(folds.of_picture.values()) == set(range(fits.FOLDS))
    few = words(1, pictures=3)
    with pytest.raises(InputError, match="raise --n"):
        fits.Folds.of({"greedy": few}, 0)


def test_calibration_keeps_the_order_and_finds_the_rate():
    ways = {"greedy": words(1, pictures=200)}
    folds = fits.Folds.of(ways, 0)
    risks = {"greedy": ways["greedy"].scores["svar at A"]}
    found = fits.calibrated(risks, ways, ["greedy"], folds)["greedy"]
    assert found.mean() == pytest.approx(ways["greedy"].y.mean(), abs=0.02)
    fold = folds.rows(ways["greedy"]) == 0
    assert (np.argsort(found[fold]) == np.argsort(risks["greedy"][fold])).all()
    sample = Sample.of([ways["greedy"]], [ways["greedy"].first], 50, 0)
    assert sample.reach(risks["greedy"], found).ece.value < 0.05


def test_figures_over_other_rows_pair_up():
    one = words(1)
    sample = Sample.of([one], [one.first], 100, 0)
    # Of the same score, over all rows and over those that svar has: the resamples redraw the same pictures.
    half = one.scores["risk"].copy()
    half[::2] = np.nan
    assert sample.gain(one.scores["risk"], half).value == 0
    assert (sample.gain(one.scores["risk"], half).draws == 0).all()


def test_intervals_for_all_at_once_are_wider_and_hold():
    random = np.random.default_rng(0)
    draws = {str(i): Draws(0.0, random.normal(size=2000), 10) for i in range(20)}
    alone, together = draws["0"].estimate(), simultaneous(draws)["0"]
    assert together.low < alone.low < alone.high < together.high
    inside = [all(abs(draws[str(i)].draws[r]) <= together.high for i in range(20)) for r in range(2000)]
    assert 0.93 < np.mean(inside) < 0.97


def test_the_page_says_what_was_found(planted, tmp_path):
    found = page(LAB, planted)
    text = " ".join(finding.text for finding in found.findings)
    assert "pas" in text
    assert "better at A: svar" in text
    file = found.write(tmp_path)
    assert file.exists()
    assert "pas" in (tmp_path / "page.md").read_text()
    lines = [json.loads(line) for line in (tmp_path / "detectors.jsonl").read_text().splitlines()]
    assert {line["row"] for line in lines} >= {"svar", "position", "wording", "probe"}
    assert {line["words"] for line in lines} == {FIRST, ALL}
    assert (tmp_path / "forest.png").exists()
    assert (tmp_path / "cost.png").exists()


def test_names_and_rows():
    assert chosen("svar+nll") == ["nll", "svar"]
    assert set(chosen("all")) > {"svar", "haloprobe"}
    with pytest.raises(SettingError, match="did you mean"):
        chosen("svr")
    with pytest.raises(SettingError):
        Published(names="glsmi")
    rows = rows_of(["svar", "glsim", "viser", "lens-cosine"], several_tokens=True)
    labels = [one.label for one in rows]
    assert labels[:2] == ["svar", "svar at A"]
    assert "glsim (mode paper)" in labels
    assert "svar, mean token" in labels
    assert [one.label for one in rows if one.fits] == ["viser", "viser at A", "lens-cosine (less class means)"]
    assert rows[0].cost == CLASSES[0]
    assert [rows_of([name], False)[0].cost for name in ("cgc", "risk", "self-check")] == list(CLASSES[1:])


def test_the_command_asks_for_the_study_detect(capsys):
    assert main(["study", "separation", "--detector", "all", "--out", "x"]) == 2
    assert "--detector" in capsys.readouterr().err
    assert main(["study", "detect", "--detector", "nope", "--out", "x"]) == 2
    assert "unknown detector" in capsys.readouterr().err


def labelled_file(folder, count=14):
    """Pictures and their true captions, every third object word labelled as hallucinated."""
    from lvlm_saliency.scenes import draw_scene, generate_scenes, label_mentions, write_caption

    lines = []
    for number, scene in enumerate(generate_scenes(count, 5, "test")):
        draw_scene(scene).save(folder / f"{number}.png")
        text = write_caption(scene)
        spans = [
            {"start": m.start_char, "end": m.end_char, "hallucinated": at % 3 == number % 3, "name": m.class_name}
            for at, m in enumerate(label_mentions(text, scene))
        ]
        row = {"image": f"{number}.png", "prompt": "Describe the image.", "text": text, "spans": spans}
        lines.append(json.dumps(row))
    file = folder / "labelled.jsonl"
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.mark.slow
def test_the_command_on_a_users_file(tmp_path):
    file = labelled_file(tmp_path)
    asked = ["study", "detect", "--detector", "nll", "--detector", "svar", "--detector", "metatoken"]
    more = ["--labels", str(file), "--out", str(tmp_path / "out"), "--resamples", "50"]
    assert main([*asked, *more]) == 0
    lines = (tmp_path / "out" / "detectors" / "detectors.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert {row["texts"] for row in rows} == {"greedy", POOLED}
    assert {"nll", "svar", "svar at A", "metatoken", "wording"} <= {row["row"] for row in rows}
    first = next(row for row in rows if row["row"] == "svar" and row["words"] == FIRST)
    assert first["coverage"] == 1
    # The labels have nothing to do with the pictures.
    assert 0.2 < first["auroc"] < 0.8
    kept = sorted((tmp_path / "out" / "kept" / "detectors").rglob("*.npz"))
    before = [one.stat().st_mtime_ns for one in kept]
    assert kept
    assert main([*asked, *more]) == 0  # read again, and not made anew
    assert [one.stat().st_mtime_ns for one in kept] == before
    kept[0].write_bytes(b"nothing")
    assert main([*asked, *more]) == 2


def test_where_pairs_are_lost():
    y = np.array([True, True, False, False, False, True])
    position = np.array([0, 0, 0, 0, 1, 1])
    answers = np.array([-5.0, 1.0, -5.0, -5.0, -5.0, -1.0])
    found = lost_pairs(np.array([0.1, 0.9, 0.5, 0.9, 0.3, np.nan]), y, position, answers)
    # The first word lies below both beside it, the second ties with one of them, the last has no score.
    assert (found.pairs, found.lost, found.words, found.half, found.most) == (4, 2.5, 2, 1, 1)
    assert (found.affirmed, found.of_affirmed, found.without) == (1, 0.8, 0.75)
    asked = lost_pairs(np.array([0.9, 0.8, 0.1, 0.2, 0.3, 0.4]), y, position, None)
    assert (asked.lost, asked.half, asked.most, asked.affirmed) == (0, 0, 0, None)


def rows_of_page(folder):
    """The rows of data of a finished comparison, by (row, texts, words)."""
    lines = (folder / "detectors" / "detectors.jsonl").read_text().splitlines()
    return {(row["row"], row["texts"], row["words"]): row for row in map(json.loads, lines)}


@pytest.mark.slow
def test_detectors_on_files_in_cocos_format(coco, tmp_path):
    """As for a large model on COCO: `--labels chair`, and the official kinds of files."""
    command = ["study", "detect", "--labels", "chair", "--n", "40", "--max-new-tokens", "64"]
    for name in ("nll", "svar", "cgc", "risk", "self-check", "svar-trained"):
        command += ["--detector", name]
    command += ["--data", str(coco), "--images", str(coco), "--out", str(tmp_path), "--resamples", "40"]
    assert main(command) == 0
    found = rows_of_page(tmp_path)
    labels = {row for row, *_ in found}
    assert {"nll", "svar", "svar at A", "cgc", "risk", "self-check", "svar-trained", "wording"} <= labels
    assert {texts for _, texts, _ in found} == {"greedy", "sample", "locore", POOLED}
    for name in ("nll", "svar", "cgc", "self-check"):
        assert found[name, POOLED, FIRST]["coverage"] == 1
    # CHAIR's labels are those of the scenes, and the model knows what it sees.
    assert found["self-check", POOLED, FIRST]["auroc"] > 0.9
    assert found["risk", POOLED, FIRST]["auroc"] > 0.8
    page = (tmp_path / "detectors" / "page.md").read_text()
    assert "Ours beside the published ones" in page
