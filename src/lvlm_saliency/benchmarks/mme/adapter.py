"""MME on the official folders."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from lvlm_saliency.benchmarks import hub, mme
from lvlm_saliency.benchmarks.base import Benchmark, Item, Pictures, Result
from lvlm_saliency.benchmarks.sources import folder
from lvlm_saliency.errors import InputError, SettingError, did_you_mean
from lvlm_saliency.stats.bootstrap import Bootstrap

if TYPE_CHECKING:
    from PIL.Image import Image


class Question(NamedTuple):
    """One line of an official task file, without the response."""

    task: str
    image: str
    text: str
    truth: str


@dataclass(frozen=True)
class Mme(Benchmark):
    """MME. tasks: joined by `/`, default all 14. `n` counts pictures of each task."""

    name: ClassVar[str] = "mme"

    tasks: str = "/".join(mme.TASKS)

    def __post_init__(self) -> None:
        for task in self.tasks.split("/"):
            if task not in mme.TASKS:
                raise SettingError(f"mme: no task {task!r}{did_you_mean(task, mme.TASKS)}")

    @cached_property
    def hub(self) -> hub.HubData | None:
        return hub.opened(self.data, "lmms-lab/MME", {"image", "question_id", "question", "answer", "category"})

    @cached_property
    def questions(self) -> list[Question]:
        found: list[Question] = []
        for task in self.tasks.split("/"):
            rows = _of_hub(self.hub, task) if self.hub else _of_folder(task, folder(self.name, self.data))
            if len(rows) % 2 or any(one.image != two.image for one, two in zip(rows[::2], rows[1::2], strict=True)):
                raise InputError(f"mme: task {task} does not hold two successive questions for every picture")
            found += rows[: None if self.n is None else 2 * self.n]
        return found

    def rows(self) -> Sequence[tuple[str, str, str]]:
        shown = [q.image if self.hub else f"{q.task}/{q.image}" for q in self.questions]  # tasks share file names
        return [
            (f"{q.task}/{q.image}/{index % 2 + 1}", image, q.text)
            for index, (q, image) in enumerate(zip(self.questions, shown, strict=True))
        ]

    @cached_property
    def pictures(self) -> Pictures:
        return Pictures(self.images or self.data, self.name)

    def picture(self, item: Item) -> Image:
        if self.hub:
            return self.hub.picture("question_id", item.image)
        return self.pictures.open(self._file(item))

    def picture_digest(self, item: Item) -> str:
        return self.hub.digest("question_id", item.image) if self.hub else self.pictures.digest(self._file(item))

    def _file(self, item: Item) -> str:
        """Where the release keeps the picture: in its task's folder, for some tasks one level further down."""
        task, _, name = item.image.partition("/")
        below = [item.image, f"{task}/images/{name}", name]
        return next((place for place in below if self.pictures.path(place).is_file()), item.image)

    def score(self, texts: Mapping[int, str]) -> dict[str, Result]:
        pairs = [(first, first + 1) for first in range(0, len(self.questions), 2) if {first, first + 1} <= set(texts)]
        with tempfile.TemporaryDirectory() as place:
            for task in dict.fromkeys(self.questions[first].task for first, _ in pairs):
                lines = [self._line(i, texts[i]) for pair in pairs for i in pair if self.questions[i].task == task]
                (Path(place) / f"{task}.txt").write_bytes("".join(lines).encode())
            result = mme.score(place, tasks=[path.stem for path in Path(place).iterdir()], bootstrap=Bootstrap(0))
        return {"answers": result}

    def _line(self, index: int, text: str) -> str:
        question = self.questions[index]
        flat = " ".join(text.split("\n")).replace("\t", " ")  # the official layout is one line, tabs between columns
        return f"{question.image}\t{' '.join(question.text.split())}\t{question.truth}\t{flat}\n"

    def described(self) -> dict[str, Any]:
        return {**super().described(), "tasks": self.tasks}


def _of_folder(task: str, root: Path) -> list[Question]:
    """From `<task>.txt` (image, question, truth), or from one `<picture>.txt` (question, truth) per picture."""
    if (whole := root / f"{task}.txt").is_file():
        rows = [(f"{whole}:{number}", line) for number, line in _lines(whole)]
        return [Question(task, *_columns(where, line, 3)) for where, line in rows]
    home = root / task
    files = sorted(home.glob("*.txt")) or sorted((home / "questions_answers_YN").glob("*.txt"))
    if not files:
        raise InputError(f"mme: {root} has neither {task}.txt nor a folder {task} with questions")
    found = []
    for file in files:
        image = _picture_of(home, file.stem)
        found += [Question(task, image, *_columns(f"{file}:{number}", line, 2)) for number, line in _lines(file)]
    return found


def _lines(path: Path) -> list[tuple[int, str]]:
    return [(number, line) for number, line in enumerate(mme.read_answers(path), 1) if line.strip()]


def _columns(where: str, line: str, wanted: int) -> list[str]:
    columns = line.split("\t")
    if len(columns) not in (wanted, wanted + 1):  # a result file has the response as one column more
        raise InputError(f"{where}: {len(columns)} columns instead of {wanted}")
    return columns[:wanted]


def _picture_of(home: Path, stem: str) -> str:
    for place in (home, home / "images"):
        for suffix in (".jpg", ".png", ".jpeg"):
            if (place / f"{stem}{suffix}").is_file():
                return f"{stem}{suffix}"
    return f"{stem}.jpg"


def _of_hub(data: hub.HubData, task: str) -> list[Question]:
    rows = [row for row in data.rows if row["category"] == task]
    ordered = sorted(rows, key=lambda row: row["question_id"])  # stable: the two questions of a picture stay put
    return [Question(task, row["question_id"], row["question"], row["answer"]) for row in ordered]
