"""Keeps the page data of recent explanations."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from typing import Any

from lvlm_saliency.chat import Explanation
from lvlm_saliency.report.content import Case, Report
from lvlm_saliency.report.html import about, render_page
from lvlm_saliency.report.pack import ROW_BUDGET
from lvlm_saliency.report.page import case_data, page_data, regions_of
from lvlm_saliency.serve.faults import Fault

MOST_TOGETHER = 12


class Reports:
    """The `most` newest reports, under random names that cannot be guessed. Older ones are dropped."""

    def __init__(self, most: int):
        self.most = most
        self._kept: OrderedDict[str, tuple[dict[str, Any], str, list[str]]] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, explanation: Explanation) -> str:
        """Keep the page data of an explanation, and return the name of the report."""
        case = Case("The answer", [explanation.run()], explanation.images, explanation.prompt)
        regions = regions_of(explanation.trace.parts is not None)
        data, name = case_data(case, ROW_BUDGET // 2, regions), secrets.token_urlsafe(16)
        with self._lock:
            self._kept[name] = (data, about(explanation.trace), regions)
            while len(self._kept) > self.most:
                self._kept.popitem(last=False)
        return name

    def case(self, name: str) -> dict[str, Any]:
        """The page data of one report. Raises `Fault` when it is not kept (any more)."""
        with self._lock:
            if name not in self._kept:
                raise Fault(404, "there is no such report (any more): the server keeps the newest ones only")
            return self._kept[name][0]

    def page(self, names: list[str]) -> str:
        """A self-contained page of one report, or of several to the same question side by side. Raises `Fault`."""
        if not 1 <= len(names) <= MOST_TOGETHER:
            raise Fault(400, f"a page shows 1 to {MOST_TOGETHER} reports")
        cases = [self.case(name) for name in names]
        joined: list[dict[str, Any]] = []
        for case in cases:
            same = next(
                (one for one in joined if (one["prompt"], one["images"]) == (case["prompt"], case["images"])), None
            )
            if same is None:
                joined.append({**case, "runs": list(case["runs"])})
            else:
                same["runs"] += case["runs"]
        with self._lock:
            _, lead, regions = self._kept.get(names[0], ({}, "", regions_of(False)))
        report = Report("What every word depends on", [], lead if len(names) == 1 else "")
        return render_page(report, {**page_data(report), "regions": regions, "cases": joined})
