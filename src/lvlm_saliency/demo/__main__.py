"""`make demo`: the shipped model captions held-out scenes; which words does it hallucinate, and what do they depend on?

Everything shown is computed here and now. The scenes are the first of the demonstration split, not chosen ones.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..allocator import keep_freed_memory
from ..cli.output import console as open_console
from ..cli.quiet import quiet
from ..plain_text import one_line
from ..report.content import Case, Report, Table
from .captions import PROMPT, Demo, write_captions
from .tables import mention_table, method_table

MOST_SCENES = 1000
LEAD = (
    "Held-out scenes, drawn from a seed and not chosen, captioned by the small model that ships with the package: "
    "greedily, under the guard, with LocoRE, with SGRS, and with both. The ground truth is known, so every object that "
    "a caption names is marked. A tiny model on drawings is no evidence about large ones; it shows what the tool shows."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration; prints captions and tables, writes the page and the plots."""
    parser = argparse.ArgumentParser(prog="lvlm_saliency.demo", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for report.html and the plots")
    parser.add_argument("--scenes", type=int, default=6, help="how many pictures")
    options = parser.parse_args(arguments)
    if arguments is None:  # the process is ours
        keep_freed_memory()
    if not 1 <= options.scenes <= MOST_SCENES:
        parser.error(f"--scenes must be a whole number from 1 to {MOST_SCENES}")

    from ..report.terminal import print_cut_legend

    begin = time.perf_counter()
    console = open_console()
    console.print("loading the shipped model ...", style="dim")
    with quiet():
        demo = write_captions(options.scenes, lambda way: console.print(f"captioning: {way} ...", style="dim"))
        for number in range(len(demo.scenes)):
            print_captions(console, demo, number)
        # Those of greedy captions stand under them already.
        print_cut_legend(console, any(caption.run.cut for way in demo.ways[1:] for caption in way.captions))
        tables = [mention_table(demo), method_table(demo)]
        files = write_files(options.out, demo, tables)
    for table in tables:
        print_table(console, table)
    took = f"\nDone in {time.perf_counter() - begin:.0f} s."
    console.print(f"{took} Open {one_line(files[0])} in a browser.", style="bold")
    console.print(f"Plots: {', '.join(map(one_line, files[1:]))}", soft_wrap=True)
    return 0


def mended_case(demo: Demo) -> Case | None:
    """The first picture whose caption the guard changed and left well-formed: the greedy caption, what was rolled back,
    and the final caption. The note says how many it changed, and how many of those are well-formed."""
    from ..scenes import parses

    ways = demo.ways[:2]
    pairs = enumerate(zip(*(way.captions for way in ways), strict=True))
    changed = {number: guarded.text for number, (plain, guarded) in pairs if plain.text != guarded.text}
    if not changed:
        return None
    whole = [number for number, text in changed.items() if parses(text)]
    chosen = next(iter([*whole, *changed]))
    plain, guarded = (way.captions[chosen].run for way in ways)
    return Case(
        title="The guard: a caption, the hallucinated word, and the corrected caption",
        images=[demo.images[chosen]],
        runs=[guarded, plain],
        prompt=PROMPT,
        note=f"Drawn: {', '.join(sorted(demo.scenes[chosen].present))}. Words are coloured by the risk that they name "
        "what is not there; below the text stands what the guard took back, and why. It changed "
        f"{len(changed)} of {len(demo.scenes)} captions, and {len(whole)} of those are still well-formed; "
        f"this is the first{' of them' if whole else ''}.",
    )


def print_captions(console: Any, demo: Demo, number: int) -> None:
    """Every caption of a picture coloured by its saliency, hallucinated words marked."""
    from ..report.guard import print_guard
    from ..report.terminal import print_trace

    scene = demo.scenes[number]
    console.print(f"\nPicture {number + 1}: {scene.kind}; drawn: {', '.join(sorted(scene.present))}", style="bold")
    for way in demo.ways:
        caption = way.captions[number]
        run = caption.run
        scores = run.trace.scores("output")[run.sample, : run.length].tolist()
        hallucinated = {t for mark in caption.hallucinated for t in range(mark.start, mark.end)}
        count = f"{len(caption.hallucinated)} of {len(caption.mentions)} mentions hallucinated"
        console.print(f"{way.name}: {count}", style="dim")
        print_trace(console, run.tokens, scores, hallucinated=hallucinated, legend=way is demo.ways[0], cut=run.cut)
        if run.guard:
            print_guard(console, run.tokens, run.guard)


def print_table(console: Any, table: Table) -> None:
    """A `Table` in the terminal."""
    from rich import box
    from rich.table import Table as Grid

    from ..cli.wide import print_table as print_wide

    grid = Grid(title=table.title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for at, column in enumerate(table.columns):
        grid.add_column(column, justify="left" if at == 0 else "right")
    for row in table.rows:
        grid.add_row(*row)
    console.print()
    print_wide(console, grid)
    console.print(table.note, style="dim")


def write_files(out: Path, demo: Demo, tables: Sequence[Table]) -> list[Path]:
    """The page, and the plots of the first caption with a hallucinated word (of the first caption, if none has one)."""
    from ..report.html import write_html
    from ..report.plot import plot_run

    cases = [
        Case(
            title=f"Picture {number + 1}: {scene.kind}",
            images=[demo.images[number]],
            runs=[way.captions[number].run for way in demo.ways],
            prompt=PROMPT,
            note=f"Drawn: {', '.join(sorted(scene.present))}.",
        )
        for number, scene in enumerate(demo.scenes)
    ]
    greedy = demo.ways[0].captions
    mended = mended_case(demo)
    cases = [*(() if mended is None else (mended,)), *cases]
    files = [write_html(out / "report.html", Report("Which words did the model hallucinate?", cases, LEAD, tables))]
    shown = next((number for number, caption in enumerate(greedy) if caption.hallucinated), 0)
    run = greedy[shown].run
    files.append(plot_run(run, out / "map.png"))
    for kind in ("correct", "hallucinated"):
        mark = next((mark for mark, first in greedy[shown].mentions if first and mark.kind == kind), None)
        if mark is not None:
            picture = [demo.images[shown]]
            files.append(plot_run(run, out / f"{kind}.png", token=mark.start, images=picture))
    return files


if __name__ == "__main__":
    sys.exit(main())
