"""Make one of the paper's tables: check, run each model into a folder of its own, set the figures side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lvlm_saliency.errors import SettingError
from lvlm_saliency.evaluation.folder import RunFolder
from lvlm_saliency.evaluation.runner import Listener, evaluate
from lvlm_saliency.evaluation.settings import Settings
from lvlm_saliency.evaluation.summary.content import RunData
from lvlm_saliency.model.load import load_model
from lvlm_saliency.reproduce.page import Result, page
from lvlm_saliency.reproduce.paper import Reported, of_model
from lvlm_saliency.reproduce.plan import LIMIT, TARGETS, asked, check, settings_of, target, usual_rows
from lvlm_saliency.studies.page import Page


def reproduce(
    name: str,
    models: Sequence[str],
    out: Path,
    *,
    on: str = "coco",
    data: str | Path | None = None,
    images: str | Path | None = None,
    paper: Reported | None = None,
    command: str = "",
    listener: Listener | None = None,
    **settings: Any,
) -> Page:
    """The table `name` of the paper on these models; its page is written to `out`.

    Args:
        name: a target that runs benchmarks: main, cross-model, ablation, scienceqa or vizwiz.
        models: hub ids or folders, each run into `out/<model>`.
        out: the folder.
        on: "coco", with the official files, or "scenes", the drawn world.
        data, images: folder of the official files, of the pictures.
        paper: published figures that stand in for the paper's (`paper.read_reported`).
        command: as the page shows it.
        listener: told how it goes.
        settings: of `evaluation.Settings`: n, seed, max_new_tokens, batch_size, ...

    Raises:
        InputError: something is missing; nothing has run.
        SettingError: no such table, or two models of one name.
    """
    chosen = target(name)
    check(chosen, models, on, data, images)
    folders = [re.sub(r"[^A-Za-z0-9.+=-]+", "_", Path(model).name) for model in models]
    if len(set(folders)) < len(folders):
        raise SettingError("two models end in the same name, and each needs a folder: rename one")
    results, limit = [], settings.pop("max_new_tokens", None)
    for model_id, folder in zip(models, folders, strict=True):
        loading = {key: settings[key] for key in ("dtype", "device", "revision") if key in settings}
        model, processor = load_model(model_id, **loading)
        reported = paper or of_model(model.config)
        usual, further = usual_rows()
        base = reported.rows if reported else usual
        rows = settings_of(chosen, base, (reported and reported.further) or further)
        wanted = Settings(
            model_id,
            asked(chosen, on, limit),
            out / folder,
            methods=[row.spec for row in rows],
            data=data if on == "coco" else None,
            images=images if on == "coco" else None,
            max_new_tokens=limit or LIMIT,
            **settings,
        )
        evaluate(wanted, model=model, processor=processor, listener=listener)
        del model, processor
        run = RunData(RunFolder(out / folder))
        # The drawn scenes are not the paper's data, whatever the model.
        results.append(Result(model_id, run, [base[0], *rows], reported if on == "coco" else None, wanted.seed))
    made = page(TARGETS[name].question, results, command, chosen.figures)
    made.write(out)
    return made
