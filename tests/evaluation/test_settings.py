"""One dataclass for the command line, YAML and Python."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import ClassVar

import pytest

from lvlm_saliency import LocoRE, methods
from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.evaluation.settings import Settings, Shard, read_yaml
from lvlm_saliency.evaluation.systems import system, systems

GIVEN = {"model": "m", "benchmarks": ["pope"], "out": "x"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n": 0}, "n must be"),
        ({"batch_size": 2.5}, "batch_size must be"),
        ({"max_new_tokens": True}, "max_new_tokens must be"),
        ({"seed": -1}, "seed must be"),
        ({"temperature": 0}, "temperature must be above 0"),
        ({"top_p": 1.5}, "top_p"),
        ({"shard": "3/2"}, "write i/k"),
        ({"shard": "0/2"}, "write i/k"),
        ({"shard": "half"}, "write i/k"),
        ({"benchmarks": []}, "--benchmark"),
        ({"model": None}, "--model"),
        ({"out": ""}, "--out"),
        ({"metods": ["sgrs"]}, "did you mean 'methods'"),
    ],
)
def test_wrong_settings_say_what_is_right(changes, words):
    with pytest.raises(SettingError, match=words):
        Settings.from_mapping({**GIVEN, **changes})


def test_a_single_name_stands_for_a_list():
    settings = Settings.from_mapping({**GIVEN, "benchmarks": "pope", "methods": "sgrs"})
    assert settings.benchmarks == ("pope",)
    assert settings.methods == ("sgrs",)


@pytest.mark.parametrize("of", [1, 2, 3, 7])
def test_shards_share_the_items_without_rest(of):
    shards = [Shard(number, of) for number in range(1, of + 1)]
    for index in range(20):
        assert sum(index in shard for shard in shards) == 1


def test_yaml_holds_the_same_settings(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(
        "model: scenes\nbenchmarks: [scenes-caption]\nout: runs/x\nmax-new-tokens: 64\n"
        "methods:\n  - locore\n  - sgrs: {alpha: 0.9}\n    locore: {beta: 0.2}\n  - sgrs:order=greedy\n"
    )
    settings = Settings.from_mapping(read_yaml(path))
    assert settings.max_new_tokens == 64
    labels = [one.label for one in systems(settings.methods, 0)]
    assert labels == ["greedy", "sample", "locore", "sgrs:alpha=0.9+locore:beta=0.2", "sgrs:order=greedy"]


@pytest.mark.parametrize(
    ("text", "words"),
    [("model: [", r"run.yaml:\d+: not YAML"), ("- a\n- b\n", "name: value"), ("just words", "name: value")],
)
def test_yaml_that_is_none_is_named(tmp_path, text, words):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_yaml(path)
    with pytest.raises(InputError, match="cannot read"):
        read_yaml(tmp_path / "absent.yaml")


def test_labels_name_what_differs_and_files_can_carry_them():
    both = system("locore:layers=4-6+sgrs:alpha=0.9", 0)
    assert both.label == "sgrs:alpha=0.9+locore:layers=4+5+6"
    assert system(both.label, 0) == both
    assert system("sgrs", 0).slug == "sgrs"
    assert "/" not in both.slug
    assert ":" not in both.slug
    assert system("sgrs:alpha=0.9", 0).slug != system("sgrs:alpha=0.8", 0).slug


def test_methods_draw_with_the_runs_seed_unless_they_have_one():
    assert system("sgrs", 5).methods[0].seed == 5
    assert system("sgrs:seed=2", 5).methods[0].seed == 2
    assert system("sample", 5).methods[0].seed == 5


@dataclass(frozen=True)
class Theirs(LocoRE):
    name: ClassVar[str] = "theirs"


@pytest.fixture
def another_package(monkeypatch):
    """A method of another package, found by its entry point."""
    from lvlm_saliency.interventions import registry

    entries = {**registry._entries(), "theirs": EntryPoint("theirs", f"{__name__}:Theirs", registry.GROUP)}
    monkeypatch.setattr(registry, "_entries", lambda: entries)


@pytest.mark.parametrize("given", ["all", " ALL ", ["all"], ["all", "all"]])
def test_all_is_every_registered_method_by_itself(given):
    chosen = Settings.from_mapping({**GIVEN, "methods": given})
    found = systems(chosen.methods, 3)
    assert [one.label for one in found[:2]] == ["greedy", "sample"]
    assert {one.label for one in found} == {"greedy", *methods()}
    assert len(found) == len(methods()) + 1
    assert all(one == system(one.label, 3) or one.optional for one in found)
    assert all(len(one.methods) == 1 for one in found[1:])


def test_all_is_read_from_yaml_and_goes_with_named_methods(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("model: m\nbenchmarks: pope\nout: x\nmethods: [all, sgrs+locore, locore, sgrs: {alpha: 0.9}]\n")
    found = systems(Settings.from_mapping(read_yaml(path)).methods, 0)
    labels = [one.label for one in found]
    assert labels[-2:] == ["sgrs+locore", "sgrs:alpha=0.9"]
    assert len(labels) == len(set(labels)) == len(methods()) + 3
    optional = {one.label for one in found if one.optional}
    assert optional == set(methods()) - {"sample", "locore"}  # what is named as well is no longer optional
    assert [one.label for one in systems(["locore", "all"], 0)][2] == "locore"


def test_all_takes_in_what_other_packages_registered(another_package):
    assert "theirs" in methods()
    found = {one.label: one for one in systems(["all"], 0)}
    assert found["theirs"].methods == (Theirs(),)


@pytest.mark.parametrize("given", ["all+locore", "all:alpha=1", {"all": {}}, [["all"]]])
def test_all_is_no_part_of_a_system(given):
    with pytest.raises(SettingError, match="'all' stands for"):
        system(given, 0)


@pytest.mark.parametrize("given", ["al:alpha=1", "al+locore", {"al": {}}])
def test_all_is_not_proposed_where_it_could_not_stand(given):
    with pytest.raises(SettingError, match="unknown method 'al'") as told:
        systems([given], 0)
    assert "'all'" not in str(told.value)


@pytest.mark.parametrize("given", ["sgrs+sample", "sgrz", "sgrs:alpa=1", 3, ["locore", "locore"]])
def test_systems_that_cannot_be_are_refused(given):
    with pytest.raises(SettingError):
        system(given, 0)


def test_only_deciding_systems_sample():
    assert [one.decides for one in systems(["locore", "sgrs+locore"], 0)] == [False, True, False, True]
    assert system("greedy", 0).methods == ()
