"""A calibration as a long job of the worker: `guard calibrate`, with requests served between its steps."""

from __future__ import annotations

import json
import logging
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lvlm_saliency.chat import Chat
from lvlm_saliency.errors import LvlmSaliencyError
from lvlm_saliency.files import write_text
from lvlm_saliency.guard.setup import set_up
from lvlm_saliency.interventions.preset_files import Preset
from lvlm_saliency.serve.calibrations.labels import in_singular
from lvlm_saliency.serve.calibrations.store import PRESET, RESULT, Calibration, Calibrations
from lvlm_saliency.serve.faults import Fault

log = logging.getLogger("lvlm_saliency.serve")
BATCH = 4
"""Texts that a calibration processes before waiting requests are served."""
TOLD = "on pictures it never saw"
NEVER = "no threshold keeps that promise, so this guard never acts: label more pictures, or allow a larger loss"


class Ended(Exception):
    """The calibration was cancelled, or the server is stopping."""


@dataclass
class Listener:
    """Records a study's progress, and serves waiting requests between two of its steps."""

    found: Calibration
    between: Callable[[], bool]

    def begin(self, label: str, total: int, done: int) -> None:
        """See `evaluation.runner.Listener`."""
        self.found.stage, self.found.total, self.found.done = label, total, done
        self._look()

    def advance(self, label: str, count: int) -> None:
        """See `evaluation.runner.Listener`."""
        self.found.done += count
        self._look()

    def note(self, text: str) -> None:
        """See `evaluation.runner.Listener`."""
        self.found.notes = [*self.found.notes[-4:], text]

    def _look(self) -> None:
        if self.found.status == "given up" or not self.between():
            raise Ended


class Job:
    """One calibration, for `Worker.take_on`."""

    def __init__(self, found: Calibration, all_of_them: Calibrations, chat: Chat, model: str):
        self.found, self.store, self.chat, self.model = found, all_of_them, chat, model

    def run(self, between: Callable[[], bool]) -> None:
        """Calibrate, and record the outcome. between: serves waiting requests; False when the server is stopping."""
        found = self.found
        if found.status == "given up":
            return
        found.status = "running"
        try:
            self._calibrate(Listener(found, between))
            found.guard = self.store.keep(found)
            if not all(set_up(guard, self.chat.model).acts for guard in self.store.guards[found.guard]):
                found.notes = [*found.notes, NEVER]
            found.status, found.stage = "finished", ""
        except Ended:
            found.problem = "" if found.status == "given up" else "the server stopped before it was through"
            found.status = "given up"
        except LvlmSaliencyError as error:
            found.status, found.problem = "failed", self._without_paths(str(error))
        # The worker thread must survive any error of a study.
        except Exception:
            log.exception("a calibration failed")
            found.status, found.problem = "failed", "the calibration failed; the server's log says more"
        finally:
            self.store.clear(found)

    def _calibrate(self, listener: Listener) -> None:
        from lvlm_saliency.extras import require

        require("studies", "matplotlib", "scipy", "sklearn", what="a calibration")
        from lvlm_saliency.studies.calibrate.study import Calibrate
        from lvlm_saliency.studies.lab import Lab
        from lvlm_saliency.studies.settings import StudySettings

        found, folder = self.found, self.found.folder
        labels, result = folder / "labels.jsonl", folder / RESULT
        write_text(labels, "".join(json.dumps(row) + "\n" for row in in_singular(found.rows)))
        pictures = folder / "pictures"
        lab = Lab(
            StudySettings(out=result, batch_size=BATCH, model=self.model, labels=str(labels), images=pictures, n=None),
            model=self.chat.model,
            processor=self.chat.processor,
            listener=listener,
        )
        lab.command = self._command()
        page = Calibrate(recall_loss=found.recall_loss, risk=found.risk).run(lab)
        page.command = lab.command
        page.write(result)
        shutil.rmtree(lab.kept)  # traces for resuming; they hold users' labels, and a finished study is not resumed
        found.reached = dict(Preset.read(result / PRESET).record.get(TOLD, {}))

    def _command(self) -> str:
        """The command line that does the same, for the page."""
        model, found = Path(self.model), self.found
        words = ["lvlm-saliency", "guard", "calibrate", "--model", model.name if model.is_absolute() else self.model]
        words += ["--labels", "labels.jsonl", "--recall-loss", f"{found.recall_loss:g}", "--batch-size", str(BATCH)]
        return shlex.join([*words, *([] if found.risk else ["--no-risk"]), "--out", "guard"])

    def _without_paths(self, text: str) -> str:
        """A message with the server's folders removed."""
        return text.replace(f"{self.found.folder}/", "").replace(str(self.found.folder), "")


def least_loss(pictures: int, risk: bool) -> float:
    """The smallest loss of recall (a fraction) that can be guaranteed from so many pictures.

    It is 1 / (n + 1) for n calibration pictures, as in conformal risk control (see `stats/conformal.py`).

    Raises:
        Fault: too few pictures for a calibration part of their own.
    """
    from lvlm_saliency.studies.calibrate.parts import ASKED_SHARES, CALIBRATE, SHARES, sizes

    try:
        return 1 / (sizes(pictures, SHARES if risk else ASKED_SHARES)[CALIBRATE] + 1)
    except LvlmSaliencyError as error:
        raise Fault(400, f"{pictures} labelled pictures: too few (at least 40, better 400 or more)") from error
