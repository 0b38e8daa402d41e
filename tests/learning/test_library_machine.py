"""The library against lists and dictionaries, whatever is done to it in whatever order."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dask_mlsched.learning.library import Library
from dask_mlsched.learning.model_card import network_digest
from dask_mlsched.learning.model_ref import LibraryError
from learning.libraries import check_written, small_network, version

NAMES = st.sampled_from(["gemm", "lu"])
ALIASES = st.sampled_from(["champion", "previous", "challenger", "family:lu"])
REFS = st.sampled_from(["baseline", *(f"{n}/v000{i}" for n in ("gemm", "lu") for i in (1, 2, 3))])
NETWORKS = [small_network(seed) for seed in range(3)]


class LibraryMachine(RuleBasedStateMachine):
    """The model: which versions there are, where aliases are, and where each of them was."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="mlsched-"))
        self.path = self.folder / "library"
        self.library = Library.open(self.path)
        self.reader = Library.reading(self.path)
        self.made = {"gemm": 0, "lu": 0}
        #: version -> which network
        self.versions: dict[str, int] = {}
        self.aliases: dict[str, str] = {}
        self.before: dict[str, list[str]] = {}
        self.told: list[tuple[str, str]] = []

    def teardown(self) -> None:
        check_written(self.library)
        shutil.rmtree(self.folder)

    @rule(name=NAMES, seed=st.integers(0, 2))
    def add(self, name: str, seed: int) -> None:
        self.made[name] += 1
        ref = f"{name}/v{self.made[name]:04d}"
        assert version(self.library, name, seed) == ref
        self.versions[ref] = seed
        self.told.append(("created", ref))

    @rule(moves=st.dictionaries(ALIASES, REFS | st.none(), max_size=3))
    def move(self, moves: dict[str, str | None]) -> None:
        if any(ref not in (None, "baseline", *self.versions) for ref in moves.values()):
            with pytest.raises(LibraryError):
                self.library.move(moves, "no")
            return
        self.library.move(moves, "on")
        moves = {alias: ref for alias, ref in moves.items() if ref != self.aliases.get(alias)}
        for alias in moves:
            if alias in self.aliases:
                self.before.setdefault(alias, []).append(self.aliases[alias])
        self.put("moved", moves)

    def put(self, kind: str, moves: dict[str, str | None]) -> None:
        for alias, ref in moves.items():
            self.aliases.pop(alias, None)
            if ref is not None:
                self.aliases[alias] = ref
        if moves:
            self.told.append((kind, ", ".join(moves)))

    def usable(self, places: list[str], other_than: str | None) -> str | None:
        there = [ref for ref in places if ref == "baseline" or ref in self.versions]
        return next((ref for ref in there if ref != other_than), None)

    @rule(alias=ALIASES)
    def back(self, alias: str) -> None:
        places = self.before.get(alias, [])
        hint = (
            [self.aliases["previous"]]
            if (alias == "champion" and "previous" in self.aliases)
            else []
        )
        target = self.usable(hint + places[::-1], self.aliases.get(alias))
        if target is None:
            with pytest.raises(LibraryError):
                self.library.back(alias, "no")
            return
        assert self.library.back(alias, "worse") == target
        self.pop(alias, target)
        moves: dict[str, str | None] = {alias: target}
        if alias == "champion":
            previous = self.usable(self.before.get(alias, [])[::-1], target)
            if previous != self.aliases.get("previous"):
                moves["previous"] = previous
                if previous is not None:
                    self.pop("previous", previous)
        self.put("back", moves)

    def pop(self, alias: str, target: str) -> None:
        places = self.before.get(alias, [])
        while target in places and places.pop() != target:
            pass

    @rule(ref=REFS)
    def remove(self, ref: str) -> None:
        if ref not in self.versions or ref in self.aliases.values():
            with pytest.raises(LibraryError):
                self.library.remove(ref, "no")
            return
        self.library.remove(ref, "worse")
        del self.versions[ref]
        self.told.append(("removed", ref))

    @rule(what=st.text(max_size=5))
    def note(self, what: str) -> None:
        assert self.library.note("noted", what=what, more=[what]) == len(self.told) + 1
        self.told.append(("noted", what))

    @rule()
    def reopen(self) -> None:
        self.library = Library.open(self.path)

    @rule(lost=st.integers(1, 400))
    def lose_the_end_of_the_last_event(self, lost: int) -> None:
        if not self.told or self.told[-1][0] in ("noted", "removed"):
            return
        log = self.path / "events.jsonl"
        data = log.read_bytes()
        last = data.rstrip(b"\n").rfind(b"\n") + 1
        log.write_bytes(data[: max(last, len(data) - lost)])
        self.library = Library.open(self.path)

    @invariant()
    def both_see_the_same(self) -> None:
        for library in (self.library, self.reader, Library.reading(self.path)):
            assert {each.ref: each.problem for each in library.survey()} == dict.fromkeys(
                sorted(self.versions)
            )
            assert library.aliases() == self.aliases
            assert [(event.kind, event.what) for event in library.events()] == self.told
            assert library.names() == [
                "baseline",
                *sorted({ref.split("/")[0] for ref in self.versions}),
            ]

    @invariant()
    def networks_are_found(self) -> None:
        for seed, network in enumerate(NETWORKS):
            found = self.reader.find(network_digest(network))
            assert (found is None) == (seed not in self.versions.values())
            assert found is None or self.versions[found] == seed


LibraryMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
TestLibrary = LibraryMachine.TestCase
