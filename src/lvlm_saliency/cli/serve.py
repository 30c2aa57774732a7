"""`lvlm-saliency serve` and `playground`: the API, and the page to try it on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import debug_option, device_option, dtype_option, model_option, options, revision_option

SERVE = """\b
Examples:
  lvlm-saliency serve --model scenes --port 8000
  lvlm-saliency serve --model llava-hf/llava-1.5-7b-hf --host 0.0.0.0 --api-key-file keys.txt
  curl http://localhost:8000/v1/models
"""
PLAYGROUND = """\b
Example:
  lvlm-saliency playground --model scenes
"""
NO_KEY = "note: this server can be reached from other machines and asks for no key; --api-key-file FILE makes it ask"

STUDIES = ("matplotlib", "scipy", "sklearn")
"""What a calibration takes beside the server."""

shared = options(
    model_option,
    revision_option,
    device_option,
    dtype_option,
    click.option(
        "--port", type=click.IntRange(0, 65_535), default=8000, show_default=True, help="0: any that is free."
    ),
    click.option(
        "--risk",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="Risk model (.safetensors); default the one that ships with the model.",
    ),
)


@click.command(epilog=SERVE)
@shared
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; 0.0.0.0 is every address.")
@click.option("--name", default="", help="What clients call the model; default its own name.")
@click.option(
    "--api-key-file",
    type=click.Path(path_type=Path),
    help="Keys, one a line; any opens it. Else LVLM_SALIENCY_API_KEY from the environment.",
)
@click.option("--max-batch", type=click.IntRange(1, 256), default=16, show_default=True, help="Texts decoded together.")
@click.option("--max-waiting", type=click.IntRange(1, 100_000), default=128, show_default=True, help="Then 429.")
@click.option("--max-tokens", type=click.IntRange(1, 100_000), default=1024, show_default=True, help="Of an answer.")
@click.option("--max-body-mb", type=click.IntRange(1, 1024), default=32, show_default=True, help="Of a request.")
@click.option("--max-pictures", type=click.IntRange(0, 64), default=8, show_default=True, help="Of a request.")
@click.option(
    "--allow-url-host", "url_hosts", multiple=True, metavar="HOST", help="Fetch pictures from this host. Repeatable."
)
@click.option(
    "--calibrations",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Let clients calibrate guards on pictures that they labelled; the guards are kept in DIR, and offered.",
)
@click.option("--log-content", is_flag=True, help="Write prompts and answers into the log (never pictures).")
@debug_option
def serve(host: str, name: Any, api_key_file: Path | None, max_body_mb: Any, **given: Any) -> None:
    """Serve an OpenAI-compatible chat API that also says what every word depends on.

    POST /v1/chat/completions, POST /v1/score, GET /v1/models, /health, /metrics, and a page at /.
    """
    run(given, host=host, name=name, key_file=api_key_file, max_body=max_body_mb * 2**20)


@click.command(epilog=PLAYGROUND)
@shared
@click.option("--no-browser", is_flag=True, help="Do not open it.")
@click.option(
    "--calibrations",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the guards that are calibrated on the page; default: until it is closed.",
)
@debug_option
def playground(no_browser: bool, calibrations: Any, **given: Any) -> None:
    """Open a page on which to ask about a picture, see what each word depends on, label words, calibrate a guard."""
    import tempfile

    from ..extras import installed

    with tempfile.TemporaryDirectory(prefix="lvlm-saliency-") as folder:
        own = Path(folder) if installed(*STUDIES) else None  # else the page gives the commands for elsewhere
        run(given, browser=not no_browser, calibrations=calibrations or own)


def run(given: dict[str, Any], *, key_file: Path | None = None, browser: bool = False, **more: Any) -> None:
    """Load the model and serve it until it is told to stop."""
    from ..extras import require

    require("serve", "fastapi", "uvicorn", what="serving")
    if more.get("calibrations") or given.get("calibrations"):
        require("studies", *STUDIES, what="--calibrations")
    from ..serve.settings import ServeSettings, api_keys

    loading = {name: given.pop(name) for name in ("device", "dtype", "revision")}
    settings = ServeSettings(**given, **{name: value for name, value in more.items() if value}, keys=api_keys(key_file))
    from ..chat import Chat
    from ..serve.run import bound, prepared
    from .output import say
    from .quiet import quiet

    listener = bound(settings)
    with listener:
        with quiet():
            chat = Chat.load(settings.model, **loading)
        server = prepared(settings, chat)
        port = listener.getsockname()[1]
        shown = f"[{settings.host}]" if ":" in settings.host else settings.host
        say(f"serving {settings.shown} on http://{shown}:{port}", err=True)
        if not settings.on_loopback and not settings.keys:
            say(NO_KEY, err=True)
        if browser:
            import threading
            import webbrowser

            threading.Timer(1.0, webbrowser.open, [f"http://localhost:{port}"]).start()
        server.run(sockets=[listener])
