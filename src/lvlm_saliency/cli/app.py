"""The command group; it turns every failure into one line and an exit status."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from lvlm_saliency import __version__

from ..errors import LvlmSaliencyError, did_you_mean
from ..plain_text import printable
from .output import say

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

PROGRAM = "lvlm-saliency"
COMPLETION = "_LVLM_SALIENCY_COMPLETE"
"""Set by a shell that asks for completions."""
COMMANDS = {
    "explain": ("explain:explain", "Show what every word of an answer depends on: earlier words, picture, prompt."),
    "generate": ("generate:generate", "Answer under the guard, LocoRE, SGRS or any other method, and compare."),
    "evaluate": ("evaluate:evaluate", "Whole benchmarks under methods, with baselines, intervals and controls."),
    "annotate": ("annotate:annotate", "Read texts that any system wrote: a row for every word, with risk and scores."),
    "study": ("study:study", "The paper's claims, measured again on any model and labelled texts."),
    "reproduce": ("reproduce:reproduce", "The paper's tables on your own checkpoints, its figures beside yours."),
    "tune": ("tune:tune", "Find a method's settings for a model on a budget, and write them to a preset file."),
    "serve": ("serve:serve", "Serve an OpenAI-compatible chat API with notes on every word, and a page to try it."),
    "playground": ("serve:playground", "Open a page: ask about a picture, see what words depend on, label them."),
    "guard": ("guard:guard", "Calibrate the guard for a model on labelled pictures, for --method."),
    "score": ("score:score", "Score what any system wrote, as the official scorers of eleven benchmarks do."),
    "judge": ("judge:judge", "Have a language model judge answers, for the benchmarks that need a judge."),
    "check": ("check:check", "Verify this package on a checkpoint: exact rows, neutral settings, nothing left behind."),
    "models": ("models:models", "List the model families that are supported and tested, with presets."),
    "methods": ("methods:methods", "List the methods and their settings."),
    "detectors": ("detectors:detectors", "List the hallucination detectors, what each needs and costs."),
    "data": ("data:data", "Write the scenes data set, or list what each benchmark needs."),
}
INTERRUPTED, BROKEN_PIPE = 130, 141
LONGEST = 2000
"""Largest number of characters of an error's line, which may quote a damaged file."""


class LazyGroup(click.Group):
    """Commands by name: only the one that is called is imported, and help shows the table above."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        return getattr(import_module(f".{module}", __package__), attribute)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        from .completion import items

        return items([(name, line) for name, (_, line) in COMMANDS.items()], incomplete)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise click.UsageError(f"unknown command {args[0]!r}{did_you_mean(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example:  lvlm-saliency explain --image photo.jpg --prompt 'Describe this picture.' --html report.html",
)
@click.version_option(__version__, prog_name=PROGRAM)
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of a failure.")
def app() -> None:
    """Find and prevent hallucinated words in what vision-language models write."""


def run(arguments: Sequence[str] | None = None) -> int:
    """See `lvlm_saliency.cli.main`."""
    if COMPLETION in os.environ:
        from .completion import answered

        return answered(app, PROGRAM)
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments or os.environ.get("LVLM_SALIENCY_DEBUG", "") not in ("", "0")
    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal cannot encode must not make a command fail.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        # Not app.main(), which prints an empty line at Ctrl-C and exits by itself when the reader of a pipe has gone.
        with app.make_context(PROGRAM, arguments) as context:
            app.invoke(context)
        sys.stdout.flush()
        return 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except BrokenPipeError:
        # The reader of the pipe has gone (`| head`). Point stdout elsewhere, so that the flush at exit does not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    # Every failure is printed as one line; unexpected exceptions count as failures while running (status 1).
    except (Exception, KeyboardInterrupt) as error:
        return tell(error, debug)


def tell(error: BaseException, debug: bool) -> int:
    """Print `error` as one line on stderr (with `debug` after its traceback); the exit status that it means."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message())
        return 0
    if debug:
        click.echo(printable("".join(traceback.format_exception(error))), err=True)
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        message, status = "interrupted", INTERRUPTED
    elif isinstance(error, click.ClickException):
        message, status = error.format_message(), 2
    elif isinstance(error, LvlmSaliencyError):
        message, status = str(error), error.exit_status
    else:
        message, status = f"{type(error).__name__}: {error}".rstrip(": "), 1
    line = " ".join(message.split())
    say(f"error: {line if len(line) <= LONGEST else line[:LONGEST] + ' ...'}", err=True)
    return status
