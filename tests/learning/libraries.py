"""Libraries for tests, and what holds for every one of them at every moment."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from core.networks import random_network
from dask_mlsched.core import features
from dask_mlsched.core.network import Network
from dask_mlsched.learning.library import Library
from dask_mlsched.learning.library_log import BACK, CREATED, MOVED, REMOVED, Event, EventLog
from dask_mlsched.learning.model_card import network_digest


def small_network(seed: int = 0) -> Network:
    return random_network(np.random.default_rng(seed), features.COUNT, (2, 2))


def version(library: Library, name: str = "gemm", seed: int = 0, reason: str = "to see") -> str:
    return library.add(name, small_network(seed), made_by="fit", reason=reason)


def refs(library: Library) -> list[str]:
    return [each.ref for each in library.survey(load=False)]


def replayed(events: Iterable[Event]) -> tuple[list[str], dict[str, str]]:
    """Return the versions and the aliases that there must be after these events."""
    versions: set[str] = set()
    aliases: dict[str, str] = {}
    for event in events:
        if event.kind == CREATED:
            assert event.what not in versions
            versions.add(event.what)
        elif event.kind == REMOVED:
            versions.remove(event.what)
        elif event.kind in (MOVED, BACK):
            for alias, (before, after) in event.fields["moves"].items():
                assert aliases.pop(alias, None) == before
                if after is not None:
                    aliases[alias] = after
        assert {ref for ref in aliases.values() if ref != "baseline"} <= versions
    return sorted(versions), aliases


def check(library: Library) -> None:
    """Look whether a library at rest is whole, and its events are the way to what there is."""
    events = library.events()
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    created = [event.what for event in events if event.kind == CREATED]
    assert len(set(created)) == len(created), "no number is used twice"
    assert replayed(events) == (refs(library), library.aliases())
    for listed in library.survey():
        assert listed.problem is None
        assert listed.card is not None
        network = library.network(listed.ref)
        assert network is not None
        assert network_digest(network) == listed.card.digest
        assert (library.path / listed.ref / "README.md").read_text().startswith(f"# {listed.ref}")


def check_written(library: Library) -> None:
    """Look, too, whether nothing is left behind, and the log has it all."""
    check(library)
    assert list(EventLog(library.path / "events.jsonl").read().values()) == library.events()
    assert {path.name for path in library.path.iterdir() if path.name.startswith(".")} == {".lock"}


def reopened(path: Path) -> Library:
    """Read a library as it was left, and then open it for writing: it must be the same."""
    reader = Library.reading(path)
    check(reader)
    before = [(each.sequence, each.kind, each.what) for each in reader.events()]
    library = Library.open(path)
    check_written(library)
    assert [(each.sequence, each.kind, each.what) for each in library.events()] == before
    return library
