"""A process that changes a library without end, each time in another way; for it to be killed."""

from __future__ import annotations

import random
import sys
from pathlib import Path

from dask_mlsched.learning.library import Library
from dask_mlsched.learning.model_ref import LibraryError
from learning.libraries import version

ALIASES = ("champion", "previous", "challenger", "family:lu")


def change(library: Library, rng: random.Random, who: str) -> str:
    """Make one change; return what was done."""
    refs = ["baseline", *(each.ref for each in library.survey(load=False))]
    match rng.randrange(7):
        case 0 | 1:
            return f"created {version(library, rng.choice(('gemm', 'lu')), reason=who)}"
        case 2 | 3:
            moves = {rng.choice(ALIASES): rng.choice([*refs, None]) for _ in range(2)}
            library.move(moves, who)
            return "moved"
        case 4:
            library.back(rng.choice(ALIASES), who)
            return "back"
        case 5:
            library.remove(rng.choice(refs), who)
            return "removed"
        case _:
            return f"noted {library.note('noted', why=who)}"


def main(path: str, who: str, seed: str, count: str) -> None:
    library = Library.open(Path(path))
    rng = random.Random(int(seed))
    for _ in range(int(count)):
        try:
            done = change(library, rng, who)
        except LibraryError as error:
            # Another process was there first, or there is nothing that could be done.
            done = f"refused {error}"
        sys.stdout.write(f"{done}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
