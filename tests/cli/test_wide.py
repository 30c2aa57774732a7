"""Wide tables: every column is printed at any width, and where all fit nothing changes."""

from __future__ import annotations

import io

from hypothesis import given, settings
from hypothesis import strategies as st
from rich import box
from rich.console import Console
from rich.table import Table

from lvlm_saliency.cli.wide import print_table, stacked

WORD = st.text("abcdefgh", min_size=1, max_size=9)


def table(rows):
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="t")
    for number in range(len(rows[0])):
        made.add_column(f"h{number}")
    for row in rows:
        made.add_row(*row)
    return made


def printed(width, made):
    out = Console(file=io.StringIO(), width=width, color_system=None)
    print_table(out, made)
    return out.file.getvalue()


@settings(deadline=None, max_examples=40)
@given(st.integers(30, 90), st.integers(1, 14).flatmap(lambda n: st.lists(st.tuples(*[WORD] * n), min_size=1)))
def test_no_cell_is_lost_and_nothing_sticks_out(width, rows):
    text = printed(width, table(rows))
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    words = text.split()
    assert words.count("t") == 1
    for number in range(len(rows[0])):
        assert f"h{number}" in words
    for row in rows:
        for cell in row[1:]:
            assert cell in words


def test_a_table_that_fits_is_left_alone():
    made = table([("a", "b", "c")])
    assert stacked(Console(width=80), made) == [made]
