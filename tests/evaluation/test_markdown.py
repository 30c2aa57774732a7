"""Markdown pages: what stands in names and titles stays text."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from lvlm_saliency.evaluation.summary.build import Report
from lvlm_saliency.evaluation.summary.content import Section
from lvlm_saliency.pages.markdown import escaped, fenced, paragraph
from lvlm_saliency.pages.tables import Cell, Table
from lvlm_saliency.studies.page import HOLDS, Finding, Page, Part

FOREIGN = (
    "a|b <script>x</script> [click](javascript:alert(1)) ![t](http://x/y.png) `code` \\| \x1b[31m\u202e\n# head\n```"
)
LIVE = (
    re.compile(r"(?<!\\)\]\("),  # links and pictures
    re.compile("<(?!/?sub>)"),  # tags
    re.compile(r"(?<!\\)`(?!``)"),  # code
    re.compile("^# head", re.M),  # a heading of its own
    re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]"),
)


def check(text: str) -> None:
    for live in LIVE:
        assert not live.search(text), (live.pattern, ascii(text))


def test_titles_leads_and_notes_of_a_report_are_escaped_like_cells():
    table = Table(FOREIGN, (FOREIGN, "x"), ((Cell(FOREIGN, FOREIGN), Cell("1", tone="better")),), FOREIGN)
    section = Section(FOREIGN, FOREIGN, (table, table), ((FOREIGN, (table, table)),), (), (FOREIGN,))
    text = Report(FOREIGN, FOREIGN, (section,), (table,)).markdown()
    check(text)
    for line in text.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 3  # two cells


def test_a_study_page_as_well():
    table = Table(FOREIGN, (FOREIGN,), ((Cell(FOREIGN, FOREIGN),),), FOREIGN)
    part = Part(FOREIGN, FOREIGN, (table,))
    text = Page(FOREIGN, FOREIGN, [Finding(HOLDS, FOREIGN)], [part], {"model": FOREIGN}, command="x").markdown()
    check(text.replace("```\nx\n```", ""))


def test_a_command_cannot_end_its_block():
    opening, body, closing = fenced("study --labels 'a\n````\n# head'")
    assert opening == closing == "`````"
    assert "````" in body


@given(st.text(max_size=40))
def test_escaped_is_one_line_and_reads_as_before(text):
    line = escaped(text)
    assert "\n" not in line
    assert escaped("CHAIR_s 12.5 [−1.0, 2.0] (better)") == "CHAIR\\_s 12.5 [−1.0, 2.0] (better)"
    assert not re.search(r"(?<!\\)(?:\\\\)*[|`]", line)


def test_a_paragraph_opens_nothing():
    assert [paragraph(text)[:1] for text in ("# a", "- a", "> a", "+ a", "---", "a", "-0.5")] == list("\\\\\\\\\\a-")
