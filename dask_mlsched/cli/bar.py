"""One bar for a command that does one thing after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dask_mlsched.cli.output import progress_bars

#: Told what is going on, and the share of it that is done.
Tell = Callable[[str, float], None]

#: Longer names would push the bar off a narrow terminal.
_LONGEST = 34


@contextmanager
def one_bar() -> Iterator[Tell]:
    """Show a bar; one that an error ends goes away, so that the error is the only line."""
    with progress_bars() as progress:
        bar = progress.add_task("", total=1.0)

        def tell(text: str, share: float) -> None:
            progress.update(bar, completed=share, description=text[:_LONGEST])

        try:
            yield tell
        except BaseException:
            progress.live.transient = True
            raise
