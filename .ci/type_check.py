"""Type check of the package, as `make types` runs it: mypy's errors, counted for each package, may only fall.

The packages that `[tool.mypy]` of `pyproject.toml` names as strict have none. Any other may have as
many as `.ci/types.txt` says (none, where it says nothing). After errors were removed, `make types-lower` writes the
lower numbers; nothing writes higher ones.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = Path("src/lvlm_saliency")
BASELINE = ROOT / ".ci" / "types.txt"


def package(file: str) -> str:
    """The package that a file belongs to; a module beside the packages is its own."""
    return Path(file).relative_to(SOURCE).parts[0]


def errors() -> list[tuple[str, str]]:
    """Each error of mypy: its package, and the line to show."""
    command = [sys.executable, "-m", "mypy", "--output", "json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        sys.exit(f"mypy failed:\n{done.stdout}{done.stderr}")
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return [
        (package(one["file"]), f"{one['file']}:{one['line']}: {one['message']}  [{one['code']}]")
        for one in found
        if one["severity"] == "error"
    ]


def allowed() -> dict[str, int]:
    """How many errors each package may have."""
    lines = (line.split() for line in BASELINE.read_text(encoding="utf-8").splitlines() if line.strip())
    return {name: int(count) for name, count in lines}


def lowered(before: dict[str, int], now: Counter[str]) -> dict[str, int]:
    """The baseline after errors were removed: never a higher number, no package that has none."""
    return {name: min(count, now[name]) for name, count in before.items() if min(count, now[name])}


def main(lower: bool) -> int:
    found, most = errors(), allowed()
    counts = Counter(name for name, _ in found)
    over = [name for name, count in counts.items() if count > most.get(name, 0)]
    for name, line in found:
        if name in over:
            print(line)
    for name in over:
        print(f"{name}: {counts[name]} errors, and {most.get(name, 0)} are allowed")
    fewer = lowered(most, counts)
    if lower:
        BASELINE.write_text("".join(f"{name} {count}\n" for name, count in sorted(fewer.items())), encoding="utf-8")
    elif fewer != most:
        print("fewer errors than .ci/types.txt allows: `make types-lower` holds what was gained")
    print(f"types: {sum(counts.values())} errors, {sum(most.values())} allowed")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main("--lower" in sys.argv[1:]))
