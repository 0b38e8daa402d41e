"""`dask mlsched bench --simulated`: a whole suite under every policy, in minutes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dask_mlsched.benchmarks import suite_report
from dask_mlsched.benchmarks.optional import require
from dask_mlsched.benchmarks.suite import STOCK, run_suite, suite_as_json
from dask_mlsched.cli.options import make_folder, missing_packages_are_mistakes
from dask_mlsched.cli.output import console, progress_bars, write_json
from dask_mlsched.core import policies as hand_written

#: Not in the table unless asked for: quadratic in the tasks.
_SLOW = ("hfp",)


def default_policies() -> tuple[str, ...]:
    """Name every hand-written policy that is quick enough for any instance."""
    return tuple(name for name in hand_written.NAMES if name not in _SLOW)


def bench_simulated(
    suite: str,
    policies: Sequence[str],
    out: Path | None,
    json_file: str | None,
    *,
    quick: bool,
    seed: int,
    eviction: str,
    keep_clean: bool,
) -> None:
    """Simulate a suite; write the report's page into `out`, and the figures where they go."""
    chosen = tuple(dict.fromkeys((STOCK, *policies)))
    if out is not None:
        # Now: what is missing shows before the first run, not after minutes.
        with missing_packages_are_mistakes():
            require("matplotlib", "the picture")
        make_folder(out)
    with missing_packages_are_mistakes(), progress_bars() as progress:
        bar = progress.add_task("", total=1.0)
        results = run_suite(
            suite,
            chosen,
            scale="quick" if quick else "full",
            eviction=eviction,
            keep_clean=keep_clean,
            seed=seed,
            on_instance=lambda name, share: progress.update(bar, completed=share, description=name),
        )
        if out is not None:
            suite_report.draw(results, out / "suite.png")
            (out / "suite.md").write_text(suite_report.markdown(results))
    if json_file is not None:
        write_json(json_file, suite_as_json(results))
    if json_file != "-":
        console().print(suite_report.table(results))
        if out is not None:
            console().print(f"Report: {out / 'suite.md'}   {out / 'suite.png'}", soft_wrap=True)
