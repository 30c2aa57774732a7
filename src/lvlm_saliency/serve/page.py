"""The demonstration page: a form, and the components of `report` that show the answer."""

from __future__ import annotations

import secrets
from functools import lru_cache
from importlib import resources
from typing import Any

from lvlm_saliency.report.content import Report
from lvlm_saliency.report.html import SCRIPTS, STYLES, script_json, static
from lvlm_saliency.report.page import page_data, regions_of
from lvlm_saliency.serve.ways import way_of

OWN_SCRIPTS = ("files.js", "pictures.js", "live.js", "labels.js", "calibrate.js", "play.js")


def page(model: dict[str, Any], keyed: bool) -> tuple[str, str]:
    """The HTML page and its content security policy. The page loads nothing from other hosts."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=ChoiceLoader([PackageLoader("lvlm_saliency.serve"), PackageLoader("lvlm_saliency.report")]),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    nonce = secrets.token_urlsafe(16)
    policy = (
        f"default-src 'none'; connect-src 'self'; img-src data: blob:; style-src 'unsafe-inline'; "
        f"script-src 'nonce-{nonce}'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    )
    own = {**model["lvlm_saliency"], **kinds(), "name": model["id"], "keyed": keyed, "samples": samples()}
    content = environment.get_template("play.html.j2").render(
        model=model["id"],
        nonce=nonce,
        styles="\n".join([*map(static, STYLES), _own("play.css")]),
        scripts="\n".join([*map(static, SCRIPTS), *map(_own, OWN_SCRIPTS)]),
        data=script_json({**page_data(Report("", [])), "regions": regions_of(own["thinks"]), "server": own}),
    )
    return content, policy


def _own(name: str) -> str:
    return resources.files("lvlm_saliency.serve").joinpath("static", name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def kinds() -> dict[str, list[str]]:
    """The names of methods that search (and so ignore temperature), and of methods whose drafts can be shown."""
    from lvlm_saliency.interventions.registry import methods

    ways = {name: way_of([name], False, 1.0, 1.0) for name in methods()}
    searching = [name for name, way in ways.items() if way.alone and not way.settles]
    return {"searching": searching, "settling": [name for name, way in ways.items() if way.settles]}


@lru_cache(maxsize=1)
def samples() -> list[dict[str, str]]:
    """A few drawn scenes as data URLs, for visitors who have no picture at hand."""
    import base64
    import io

    from lvlm_saliency.scenes import demo_scenes, draw_scene

    found = []
    for number, scene in enumerate(demo_scenes(4), 1):
        file = io.BytesIO()
        draw_scene(scene).save(file, "PNG", optimize=True)
        url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
        found.append({"name": f"scene-{number}.png", "title": f"a drawn {scene.kind}", "url": url})
    return found
