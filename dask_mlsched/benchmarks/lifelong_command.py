"""The experiment from the command line: `examples/lifelong.py`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from dask_mlsched.benchmarks import lifelong_picture, lifelong_report
from dask_mlsched.benchmarks.lifelong import (
    FULL_SCALE,
    QUICK_SCALE,
    Experiment,
    OnStep,
    experiment,
)
from dask_mlsched.benchmarks.lifelong_goals import Run
from dask_mlsched.benchmarks.lifelong_ours import BAD_REASON


def main(arguments: Sequence[str] | None = None) -> None:
    """Play a stream of runs, print what happens, and write the picture."""
    parser = argparse.ArgumentParser(
        description="A stream of runs, simulated: models are chosen, split, merged and sent back."
    )
    parser.add_argument("--quick", action="store_true", help="a short stream, in half a minute")
    # With this seed models are merged, too; with most there are none that are near enough.
    parser.add_argument("--seed", type=int, default=1, help="of the stream and of all searches")
    parser.add_argument("--json", metavar="FILE", help="write the figures here; - is stdout")
    parser.add_argument("--picture", metavar="FILE", default="lifelong.png")
    parser.add_argument(
        "--keep", metavar="FOLDER", help="keep the models here, for `dask mlsched models report`"
    )
    chosen = parser.parse_args(arguments)
    if chosen.seed < 0:
        parser.error(f"--seed={chosen.seed}; expected 0 or more")
    console = Console(width=120, highlight=False)
    if chosen.json == "-":
        console = Console(width=120, highlight=False, stderr=True)
    with _folder(parser, chosen.keep) as root:
        found = _played(root, chosen.seed, console, quick=chosen.quick)
    for table in lifelong_report.tables(found):
        console.print(table)
    lifelong_picture.draw(found, Path(chosen.picture))
    console.print(f"The picture is in {chosen.picture}.", soft_wrap=True)
    if chosen.json is not None:
        text = json.dumps(lifelong_report.as_json(found), indent=2, allow_nan=False) + "\n"
        if chosen.json == "-":
            sys.stdout.write(text)
        else:
            Path(chosen.json).write_text(text)


@contextmanager
def _folder(parser: argparse.ArgumentParser, keep: str | None) -> Iterator[Path]:
    """Yield the folder for models; one that is there has to be empty."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="mlsched-") as folder:
            yield Path(folder)
        return
    path = Path(keep)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        parser.error(f"--keep={keep!r} is there already; name a new folder")
    yield path


def _played(root: Path, seed: int, console: Console, *, quick: bool) -> Experiment:
    scale = QUICK_SCALE if quick else FULL_SCALE
    console.print(f"Before run {scale.plan.bad_champion + 1} there is a champion {BAD_REASON}.")
    console.print(lifelong_report.HEADER, style="bold")

    def on_run(run: Run) -> None:
        console.print(lifelong_report.line(run), markup=False, soft_wrap=True)

    with _progress() as on_step:
        return experiment(root, seed, scale, on_step=on_step, on_run=on_run)


@contextmanager
def _progress() -> Iterator[OnStep]:
    """Show what is going on, on standard error."""
    with Console(stderr=True).status("begins") as status:

        def on_step(text: str, share: float) -> None:
            status.update(f"{share:4.0%} {text}")

        shown: Callable[[str, float], None] = on_step
        yield shown


if __name__ == "__main__":
    main()
