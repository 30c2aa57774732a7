"""Imports run downward: a room takes from rooms on lower floors alone, and no two files need each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import lvlm_saliency

ROOT = Path(lvlm_saliency.__file__).parent
FLOORS = (
    ("allocator", "errors", "plain_text"),
    ("short",),
    ("extras", "files"),
    ("stats", "workers"),
    ("hf", "judge", "pages", "scenes"),
    ("model",),
    ("attention",),
    ("tracing",),
    ("decoding",),
    ("interventions",),
    ("benchmarks",),
    ("risk",),
    ("detection", "guard"),
    ("report",),
    ("chat",),
    ("checks", "evaluation"),
    ("annotation", "studies"),
    ("reproduce", "serve"),
    ("cli",),
    ("demo", "integrations"),
)
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
UPWARD = {
    # A trace shows itself: `to_html`, `plot` and the notebook's view are imported when they are called.
    ("tracing.result", "report"),
}


def files() -> Iterator[tuple[tuple[str, ...], Path]]:
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if len(parts) > 1 or parts[0] not in ("__init__", "__main__"):
            yield parts, path


def imported(parts: tuple[str, ...], path: Path, *, at_once: bool = False) -> Iterator[tuple[str, ...]]:
    """Everything of this package that the file imports, as (package, ..., name): at its top, and, unless `at_once`, in
    its functions. What only a type check reads is left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    checked = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and isinstance(branch.test, ast.Name) and branch.test.id == "TYPE_CHECKING"
        for statement in branch.body
        for node in ast.walk(statement)
    }
    for node in tree.body if at_once else ast.walk(tree):
        if id(node) in checked:
            continue
        if isinstance(node, ast.Import):
            found = [alias.name.split(".") for alias in node.names]
            yield from (tuple(names[1:]) for names in found if names[0] == "lvlm_saliency" and names[1:])
        elif isinstance(node, ast.ImportFrom):
            module = tuple(node.module.split(".")) if node.module else ()
            if node.level:
                module = (*parts[: len(parts) - node.level], *module)
            elif module[:1] == ("lvlm_saliency",):
                module = module[1:]
            else:
                continue
            yield from ((*module, alias.name) for alias in node.names)


def test_every_room_has_a_floor():
    rooms = {parts[0] for parts, _ in files()}
    assert rooms <= set(FLOOR), sorted(rooms - set(FLOOR))


@pytest.mark.parametrize("room", sorted({parts[0] for parts, _ in files()}))
def test_imports_run_downward(room):
    upward = set()
    for parts, path in files():
        if parts[0] != room:
            continue
        for names in imported(parts, path):
            other = names[0]
            if other in FLOOR and other != room and FLOOR[other] >= FLOOR[room]:
                upward.add((".".join(parts), other))
    assert upward <= UPWARD, sorted(upward - UPWARD)


def test_no_two_files_need_each_other():
    """By what they import at their tops: a circle there breaks as soon as the other file is imported first."""
    modules = {parts if parts[-1] != "__init__" else parts[:-1]: (parts, path) for parts, path in files()}
    needs: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for name, (parts, path) in modules.items():
        found = set()
        for names in imported(parts, path, at_once=True):
            target = next((names[:k] for k in range(len(names), 0, -1) if names[:k] in modules), None)
            # A file of a package may be imported by the package's own face; the other way round is a circle.
            if target is not None and target != name:
                found.add(target)
        needs[name] = found

    def reach(start: tuple[str, ...]) -> set[tuple[str, ...]]:
        seen: set[tuple[str, ...]] = set()
        todo = list(needs[start])
        while todo:
            one = todo.pop()
            if one not in seen:
                seen.add(one)
                todo += needs[one]
        return seen

    circles = sorted(".".join(name) for name in needs if name in reach(name))
    assert not circles, circles


# fmt: off
OF_METHODS = {
    "name", "bind", "roles", "edit_rows", "hooks", "put", "selector", "search", "shaper", "loop", "faster",
    "observers", "hear", "steers", "choose", "capture", "combine", "contrast_branches", "extra_forwards",
    "first_only", "behind_processors", "reads_inputs", "kind_of_layer", "minds_shift", "edits_prompt",
    "needs_picture", "rows_per_token", "one_by_one", "execution", "shapes_logits", "ranges", "seed", "check_model",
    "call_settings",
}
# fmt: on
"""What methods and their parts are made of."""


def test_no_probe_decides_what_a_method_is():
    """Methods say what they are (`roles`) and give their parts (`bind`): nobody asks whether an attribute is there."""
    probes = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for _, path in files()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("hasattr", "getattr")
        if len(node.args) > 1 and isinstance(node.args[1], ast.Constant) and node.args[1].value in OF_METHODS
    ]
    assert not probes, probes
