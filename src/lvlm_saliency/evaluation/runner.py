"""A run from its settings to its scores: every benchmark under every system, continuing where it stopped."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from lvlm_saliency.benchmarks.base import Benchmark, Item
from lvlm_saliency.benchmarks.opening import open_benchmark
from lvlm_saliency.errors import ImageError, SettingError
from lvlm_saliency.evaluation import gates, rows
from lvlm_saliency.evaluation.folder import RunFolder
from lvlm_saliency.evaluation.settings import Settings
from lvlm_saliency.evaluation.systems import System, systems
from lvlm_saliency.evaluation.work import Work
from lvlm_saliency.files import json_lines as store

if TYPE_CHECKING:
    from lvlm_saliency.evaluation.engines import Engine
    from lvlm_saliency.workers import Pool


class Listener(Protocol):
    """Receives the progress of long work."""

    def begin(self, label: str, total: int, done: int) -> None:
        """A piece of work begins: of `total` answers (or texts), `done` exist from before."""

    def advance(self, label: str, count: int) -> None:
        """`count` more of them are done and on disk."""

    def note(self, text: str) -> None:
        """A message for the user."""


class Silent:
    """A listener that says nothing."""

    def begin(self, label: str, total: int, done: int) -> None:
        pass

    def advance(self, label: str, count: int) -> None:
        pass

    def note(self, text: str) -> None:
        pass


def evaluate(
    settings: Settings,
    *,
    model: Any = None,
    processor: Any = None,
    pool: Pool | None = None,
    listener: Listener | None = None,
) -> dict[str, Any] | None:
    """Run (or finish) an evaluation.

    Args:
        settings: what to run, and the folder to keep it in.
        model, processor: loaded already; default `load_model(settings.model)`.
        pool: workers that decode in place of this process (`evaluation.engines.decoder_pool`), entered already.
        listener: told how it goes.

    Returns:
        The content of scores.json; None while other shards still have items to do.

    Raises:
        SettingError: unknown names, or a folder that holds a run of other settings.
        InputError: files or pictures that are missing or broken.
        MemoryExhausted: a single item does not fit into memory.
    """
    return Run(settings, listener or Silent()).go(model, processor, pool)


class Run:
    """One process's part in a run."""

    def __init__(self, settings: Settings, listener: Listener):
        self.settings, self.listener = settings, listener
        self.benchmarks = _opened(settings)
        self.systems = gates.in_order(systems(settings.methods, settings.seed), settings.seed)
        self.folder = RunFolder(settings.out)

    def go(self, model: Any, processor: Any, pool: Pool | None = None) -> dict[str, Any] | None:
        for benchmark in self.benchmarks:
            benchmark.check()
        gates.check(self.systems, self.benchmarks)
        digests = {benchmark.name: self._digests(benchmark) for benchmark in self.benchmarks}
        engine = self._engine(model, processor, pool)
        described = engine.describe(self.benchmarks, self.systems, digests)
        self.systems = described.systems
        for line in described.notes:
            self.listener.note(line)
        self.folder.open(described.config)
        with store.locked(self.folder.lock(self.settings.part)):
            self._write_inputs(digests)
            for benchmark in self.benchmarks:
                for system in self.systems:
                    self._mend(benchmark, system)
            work = [Work(b, s, self._waiting(b, s)) for b in self.benchmarks for s in self.systems]
            total = sum(self._share(one.benchmark) for one in work)
            self.listener.begin("answers", total, total - sum(len(one.items) for one in work))
            for ready in self._rounds([one for one in work if one.items]):
                for one, (answers, cost) in engine.decode(ready):
                    self._keep(one, answers, cost)
            for one in work:
                self._sort(one.benchmark, one.system)
        return self.finish()

    def _engine(self, model: Any, processor: Any, pool: Pool | None) -> Engine:
        from lvlm_saliency.evaluation.engines import ManyProcesses, OneProcess

        if pool is not None:
            return ManyProcesses(pool, self.settings, self.listener)
        return OneProcess(model, processor, self.settings, self.listener)

    def _rounds(self, work: list[Work]) -> Iterator[list[Work]]:
        """The work in as few parts as can be: what acts as often as another system needs that one's answers first."""
        while work:
            acting = [(one, gates.bound(one.system, one.benchmark, self.folder, self.settings.seed)) for one in work]
            ready = [dataclasses.replace(one, system=system) for one, system in acting if system is not None]
            if not ready:
                break
            yield ready
            work = [one for one, system in acting if system is None]
        for one in work:
            self.listener.note(
                f"{one.system.label} acts as often as the guard, which has answers to give in other shards: "
                "give the command again when they are there"
            )

    def finish(self) -> dict[str, Any] | None:
        """Score and summarise once every item of every shard is there."""
        answers = {
            b.name: {s.label: self.folder.answers(b.name, s, b.items) for s in self.systems} for b in self.benchmarks
        }
        missing = sum(
            item.index not in found for b in self.benchmarks for found in answers[b.name].values() for item in b.items
        )
        if missing:
            self.listener.note(
                f"{missing} answers are still to come from other shards; the last to finish scores the run"
            )
            return None
        from lvlm_saliency.evaluation.scoring import Scorer
        from lvlm_saliency.evaluation.summary.build import write_summary

        scores, details = Scorer(self.benchmarks, self.systems, self.settings.resamples).score(answers)
        for (benchmark, slug), detail in details.items():
            store.write_whole(self.folder.path / "details" / benchmark / f"{slug}.json", store.as_json(detail))
        self._write_uploads(answers)
        store.write_whole(self.folder.path / "scores.json", store.as_json(scores, indent=1))
        write_summary(self.folder)
        return store.plain(scores)

    def _write_uploads(self, answers: dict[str, dict[str, Any]]) -> None:
        """Every system's answers as the official scorers read them."""
        for benchmark in self.benchmarks:
            for system in self.systems:
                rows = {i: row for i, row in answers[benchmark.name][system.label].items() if "error" not in row}
                if (file := benchmark.upload(benchmark.texts(dict(sorted(rows.items()))), system.label)) is not None:
                    folder = self.folder.path / "answers" / benchmark.name / system.slug
                    store.write_whole(folder / file[0], file[1])
            if benchmark.judged:
                place = self.folder.path / "answers" / benchmark.name
                self.listener.note(
                    f"{benchmark.name}: a judge must read {place} before they are scored: see judge --help"
                )

    def _keep(self, work: Work, answers: Sequence[dict[str, Any]], cost: dict[str, Any]) -> None:
        items_file, cost_file = (
            self.folder.file(kind, work.benchmark.name, work.system, self.settings.part) for kind in ("items", "cost")
        )
        # The cost is written first: if the process is killed in between, `_mend` finds a cost without its answers. The
        # other way round, answers would stay whose cost is lost.
        store.append(cost_file, [cost])
        store.append(items_file, answers)
        self.listener.advance(work.label, len(answers))
        for row in answers:
            if "error" in row:
                self.listener.note(f"left out: {row['error']}")

    def _sort(self, benchmark: Benchmark, system: System) -> None:
        """This part's files in the order of the items, as one process writes them, after workers wrote as they came."""
        for kind, place in (("cost", lambda row: row["items"][0]), ("items", lambda row: row["index"])):
            file = self.folder.file(kind, benchmark.name, system, self.settings.part)
            found = store.read_lines(file)
            if (ordered := sorted(found, key=place)) != found:
                store.write_whole(file, "".join(store.as_json(row) + "\n" for row in ordered))

    def _mend(self, benchmark: Benchmark, system: System) -> None:
        """Remove what a killed process left incomplete in this part's files: a torn line, and batches whose cost is
        there but not all of their answers."""
        kinds = {"items": rows.check_answer, "cost": rows.check_cost}
        files = {kind: self.folder.file(kind, benchmark.name, system, self.settings.part) for kind in kinds}
        for file in files.values():
            store.mend(file)
        answers, costs = (store.read_lines(files[kind], check) for kind, check in kinds.items())
        done = {row["index"] for row in answers}
        torn = [cost for cost in costs if not done.issuperset(cost["items"])]
        if not torn:
            return
        again = {index for cost in torn for index in cost["items"]}
        # Answers are removed first: if this is killed too, the next start finds the same batches incomplete.
        for kind, kept in (
            ("items", [row for row in answers if row["index"] not in again]),
            ("cost", [cost for cost in costs if done.issuperset(cost["items"])]),
        ):
            if files[kind].exists():
                store.write_whole(files[kind], "".join(store.as_json(row) + "\n" for row in kept))

    def _waiting(self, benchmark: Benchmark, system: System) -> list[Item]:
        done = self.folder.answers(benchmark.name, system, benchmark.items)
        return [item for item in benchmark.items if item.index in self.settings.part and item.index not in done]

    def _share(self, benchmark: Benchmark) -> int:
        return sum(item.index in self.settings.part for item in benchmark.items)

    def _digests(self, benchmark: Benchmark) -> dict[str, str]:
        """SHA-256 of every picture, by name; of a missing one "missing" where errors are to be skipped."""
        found: dict[str, str] = {}
        for item in benchmark.items:
            if not item.image or item.image in found:
                continue
            try:
                found[item.image] = benchmark.picture_digest(item)
            except ImageError as error:
                if not self.settings.skip_errors:
                    raise ImageError(f"{benchmark.name}: {error} (--skip-errors leaves it out)") from error
                found[item.image] = "missing"
        return found

    def _write_inputs(self, digests: dict[str, dict[str, str]]) -> None:
        """The list of items, so that it can be shared: id, picture with its hash, prompt."""
        for benchmark in self.benchmarks:
            known = digests[benchmark.name]
            lines = [
                {
                    "index": i.index,
                    "id": i.id,
                    "image": i.image,
                    "image_sha256": known.get(i.image, ""),
                    "prompt": i.prompt,
                }
                for i in benchmark.items
            ]
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            store.write_whole(self.folder.path / "inputs" / f"{benchmark.name}.jsonl", text)


def _opened(settings: Settings) -> list[Benchmark]:
    opened = [open_benchmark(b, n=settings.n, images=settings.images, data=settings.data) for b in settings.benchmarks]
    names = [benchmark.name for benchmark in opened]
    for name in names:
        if names.count(name) > 1:
            raise SettingError(f"{name} is given twice; give its two settings a run, and an --out, each")
    return opened
