"""Options of the commands whose work can go to several processes or machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from .options import Number, options

if TYPE_CHECKING:
    from lvlm_saliency.workers import Pool

HERE = "here"
WORKER_OPTIONS = ("ray", "workers", "gpus_per_worker")

worker_options = options(
    click.option(
        "--ray",
        is_flag=False,
        flag_value=HERE,
        metavar="[ADDRESS]",
        help="Spread the work over processes that hold a model each, on this machine or, with an ADDRESS (auto, "
        "host:6379, ray://host:10001), on a Ray cluster. The results are those of one process.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(1, 10_000),
        help="With --ray: how many.  [default: as many as there are GPUs, or cores without GPUs]",
    ),
    click.option(
        "--gpus-per-worker",
        type=Number(0, 1024),
        metavar="G",
        help="With --ray: of each worker; 0.5 puts two on a GPU, 2 and --device spread give a large model two.",
    ),
)


@contextmanager
def workers(
    given: Mapping[str, Any], settings: Any, listener: Any, make: Callable[..., Pool] | None = None
) -> Iterator[Pool | None]:
    """The pool that `worker_options` ask for, with the settings' model; None where nothing asks for one.

    Args:
        make: the pool of wanted workers, settings and a listener; default `decoder_pool`.

    Raises:
        UsageError: options of `--ray` without it.
        InputError: Ray is not installed, or no cluster can be had.
    """
    address, count, gpus = (given.get(name) for name in WORKER_OPTIONS)
    if address is None:
        for name in ("workers", "gpus_per_worker"):
            if given.get(name) is not None:
                raise click.UsageError(f"--{name.replace('_', '-')} goes with --ray: add --ray, or --ray ADDRESS")
        yield None
        return
    from lvlm_saliency.evaluation.engines import decoder_pool
    from lvlm_saliency.workers import Workers

    wanted = Workers(None if address == HERE else address, count, gpus)
    with (make or decoder_pool)(wanted, settings, listener) as pool:
        yield pool


def split(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of `worker_options`, and all others."""
    own = {name: given[name] for name in WORKER_OPTIONS if name in given}
    return own, {name: value for name, value in given.items() if name not in own}
