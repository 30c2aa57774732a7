"""Every link of the built site that stays inside it leads somewhere: `python .ci/links.py docs/_build/html`.

Pages, files and anchors are looked up in the folder; nothing is fetched. Links to other sites are only counted.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """What a page links to, and the anchors that it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" or (name == "name" and tag == "a"):
                self.anchors.add(value or "")
            elif name in ("href", "src") and value:
                self.links.append(value)


def broken(site: Path) -> tuple[list[str], int, int]:
    """Links that lead nowhere, as lines to show; how many stay inside the site, and how many leave it."""
    pages = {
        path.resolve(): Page(path.read_text(encoding="utf-8"))
        for path in site.rglob("*.html")
        if "_static" not in path.parts
    }
    lines, inside, outside = [], 0, 0
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                outside += parts.scheme in ("http", "https")
                continue
            inside += 1
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            shown = f"{path.relative_to(site.resolve())}: {link}"
            if not target.exists():
                lines.append(f"{shown}: no such file")
            elif (
                parts.fragment
                and target in pages
                and unquote(parts.fragment) not in pages[target].anchors | {"", "top"}
            ):
                lines.append(f"{shown}: no such anchor")
    return lines, inside, outside


def main(folder: str) -> int:
    lines, inside, outside = broken(Path(folder))
    print(*lines, sep="\n", end="\n" if lines else "")
    print(f"links: {inside} inside the site, {len(lines)} broken; {outside} to other sites were not followed")
    return 1 if lines or not inside else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
