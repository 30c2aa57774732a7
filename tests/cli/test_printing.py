"""Nothing that prints lets text steer the terminal: findings, progress, the demo, coloured words, lines, JSON."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lvlm_saliency.cli import main
from lvlm_saliency.cli.progress import Bar, Lines, progress_bar
from lvlm_saliency.plain_text import one_line, printable, printable_json
from lvlm_saliency.report.console import PlainConsole
from lvlm_saliency.report.terminal import print_trace

from .conftest import NAME, check


class Finding:
    verdict, text = "holds", "under \x1b[31mx[bold]\u202e"


class Page:
    title, findings = "a \x1b]0;T\x07 study", (Finding,)


def test_findings_of_studies(capsys):
    from lvlm_saliency.cli.study import show

    show("separation", Page, Path(NAME))
    out = check(capsys.readouterr().out)
    assert "x[bold]" in out
    assert not re.search(r"^error: spoof", out, re.M)


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_and_notes(capsys, monkeypatch, terminal):
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress_bar() as bar:
        assert isinstance(bar, Bar if terminal else Lines)
        bar.begin(NAME, 3, 1)
        bar.advance(NAME, 1)
        bar.note(NAME)
    err = re.sub(r"\x1b\[\?25[lh]|\x1b\[2K|\x1b\[1A|\r", "", capsys.readouterr().err)  # how a bar is redrawn
    assert "[bold]" in check(err, terminal)
    assert not re.search(r"^error: spoof", err, re.M)


def test_the_demonstration(monkeypatch, capsys, tmp_path):
    """Captions, scores, tables: everything is printed on the one console."""
    from lvlm_saliency.demo import __main__ as demo

    seen = {}
    monkeypatch.setattr(demo, "write_captions", lambda count, tell: tell(NAME) or seen["demo"])
    monkeypatch.setattr(demo, "write_files", lambda out, *_: [Path(NAME), Path(NAME)])
    monkeypatch.setattr(demo, "mention_table", lambda _: demo.Table(NAME, [NAME, "x"], [[NAME, NAME]], NAME))
    monkeypatch.setattr(demo, "method_table", demo.mention_table)

    class Nothing:
        scenes = ways = ()

    seen["demo"] = Nothing
    assert demo.main(["--out", str(tmp_path)]) == 0
    assert "[bold]" in check(capsys.readouterr().out)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the first call imports rich
@given(st.lists(st.text(), min_size=1, max_size=6), st.sampled_from([None, "truecolor"]))
def test_coloured_words_whatever_they_are(tokens, colours):
    stream = io.StringIO()
    out = PlainConsole(file=stream, color_system=colours, force_terminal=colours is not None, width=40)
    print_trace(out, tokens, [0.5] * len(tokens))
    check(stream.getvalue(), coloured=True)


@given(st.text())
def test_printable_keeps_what_is_shown_and_nothing_that_steers(text):
    shown = printable(text)
    for character in shown:
        assert character.isprintable() or character in "\n\t\u200c\u200d"
    assert printable(shown) == shown
    assert "\n" not in one_line(text)
    kept = [c for c in text if c.isprintable()]
    assert [c for c in kept if c not in "· "] == [c for c in shown if c.isprintable() and c not in "· "]


@given(st.text(), st.integers(0, 10))
def test_a_stream_in_pieces_is_the_text_in_pieces(text, at):
    text = text.replace("\r\n", "\n")  # which a cut may part
    assert printable(text[:at]) + printable(text[at:]) == printable(text)


@given(st.dictionaries(st.text(), st.lists(st.text() | st.integers(), max_size=3), max_size=3))
def test_json_keeps_every_character(value):
    text = printable_json(json.dumps(value, ensure_ascii=False, indent=1))
    check(text)
    assert json.loads(text) == value


def test_one_console_and_one_way_to_say_a_line():
    """Nothing in the package prints past them."""
    source = Path(main.__code__.co_filename).parents[1]
    found = [
        f"{file.relative_to(source)}: {line.strip()}"
        for file in sorted(source.rglob("*.py"))
        for line in file.read_text(encoding="utf-8").splitlines()
        if re.search(r"(?<![\w.])(click\.echo|click\.secho|print|Console)\(", line) and "class " not in line
    ]
    allowed = ("cli/output.py: click.echo(", "cli/app.py: click.echo(", "report/console.py:")
    assert [line for line in found if not line.startswith(allowed)] == []
