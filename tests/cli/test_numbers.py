"""Every option that is a number, of every command: what is none, or none that can be used, ends in one line."""

from __future__ import annotations

import click
import pytest
from click.types import FloatParamType, IntParamType

from lvlm_saliency.cli.app import app
from lvlm_saliency.errors import SettingError
from lvlm_saliency.evaluation import Settings
from lvlm_saliency.interventions.parsing import parse_methods

BAD = ("nan", "inf", "-inf", "1e400", "-1e400", "1" * 5000, "1" * 50, "-7", "", "x")


def commands(group: click.Group, path=()):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


NUMBERS = [
    pytest.param(path, option, id=" ".join((*path, option.opts[0])))
    for path, command in commands(app)
    for option in command.params
    if isinstance(option, click.Option) and isinstance(option.type, (IntParamType, FloatParamType))
]


@pytest.mark.parametrize(("path", "option"), NUMBERS)
@pytest.mark.parametrize("value", BAD, ids=[value[:8] or "empty" for value in BAD])
def test_a_number_that_cannot_be_used_is_refused_before_anything_runs(path, option, value):
    if option.opts[0] == "--token" and value in ("-7", "1" * 50):
        return  # counted from the end; compared with the answer's length later
    with pytest.raises(click.UsageError):
        option.type_cast_value(click.Context(app), value)


def test_every_command_with_a_number_is_looked_at():
    assert len(NUMBERS) > 30
    assert {"explain", "generate", "evaluate", "study", "tune", "score", "data"} <= {
        one.values[0][0] for one in NUMBERS
    }


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "1e400", "0", "1e-9", "1e9"])
def test_a_temperature_that_cannot_be_used_leaves_no_run(run, tmp_path, value):
    asked = ("--model", "scenes", "--benchmark", "scenes-caption", "--n", 1, "--out", tmp_path / "run")
    result = run("evaluate", *asked, "--temperature", value)
    assert result.status == 2
    assert "--temperature" in result.error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("temperature", 1e-30),
        ("top_p", float("nan")),
        ("max_new_tokens", 10**30),
        ("batch_size", 10**9),
        ("resamples", 10**12),
        ("seed", -1),
        ("seed", 2**64),
        ("n", 0),
        ("n", 1.0),
    ],
)
def test_settings_from_python_and_yaml_are_checked_alike(name, value):
    with pytest.raises(SettingError, match=name):
        Settings(model="x", benchmarks=["scenes-caption"], out="x", **{name: value})


@pytest.mark.parametrize(
    "spec",
    [
        "locore:beta=nan",
        "locore:beta=inf",
        "locore:beta=1e400",
        "locore:beta=-1",
        "locore:window=1e400",
        "sgrs:alpha=nan",
        "sgrs:top_k=99999999999999999999999999",
        "sgrs:seed=-1",
        "vcd:alpha=inf",
        "opera:candidates=1000000000",
        "beam:n_beams=1000000000",
        "eah:threshold=nan",
        "eah:threshold=1e999",
    ],
)
def test_knobs_of_methods(spec):
    with pytest.raises(SettingError):
        parse_methods(spec)


def test_infinity_where_it_means_something():
    assert parse_methods("eah:threshold=inf")[0].threshold == float("inf")
