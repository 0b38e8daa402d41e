"""What is resident on a shelf, against `residency.Residency`."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.compiled import shelves
from dask_mlsched.core.compiled.layouts import NO_LIMIT, RESIDENT, SLOW
from dask_mlsched.core.compiled.rollout import Rollout
from dask_mlsched.core.dag import Dag, DagTask
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.residency import Residency

_ARRAYS = 6
ARRAY = st.integers(0, _ARRAYS - 1)
#: From nothing to more than the device holds.
NBYTES = st.integers(0, 12)

#: Of one worker: what is predicted of it, and what its store holds.
PREDICTED, REAL = 0, 1


class ShelfMachine(RuleBasedStateMachine):
    """The same done to both, and compared after every step."""

    @initialize(
        limit=st.none() | st.integers(1, 30),
        sizes=st.lists(NBYTES, min_size=_ARRAYS, max_size=_ARRAYS),
        shelf=st.sampled_from([PREDICTED, REAL]),
    )
    def begin(self, limit: int | None, sizes: list[int], shelf: int) -> None:
        dag = Dag.build("arrays", [DagTask(str(i), (), n, 0.0, "p") for i, n in enumerate(sizes)])
        rollout = Rollout(dag, Machine(None), Settings(), np.arange(_ARRAYS))
        # Not by the machine, which would refuse arrays that are larger.
        rollout.arrays["shelves"]["limit"] = NO_LIMIT if limit is None else limit
        rollout.arrays["tasks"]["size"] = sizes
        self.arrays, self.tables = rollout.arrays, rollout._tables
        self.sizes, self.shelf = sizes, shelf
        self.model = Residency(limit)

    def moved(self) -> tuple[list[int], list[int]]:
        """Take what was noted as moved in the last step."""
        clock = self.arrays["clock"]
        came = self.arrays["came"][: clock["came"][0]].tolist()
        gone = self.arrays["gone"][: clock["gone"][0]].tolist()
        clock["came"] = clock["gone"] = 0
        return came, gone

    @rule(array=ARRAY)
    def touch(self, array: int) -> None:
        expected = self.model.touch(array, self.sizes[array])
        shelves.touch(self.tables, self.shelf, array)
        assert self.moved() == expected

    @rule(array=ARRAY)
    def evict(self, array: int) -> None:
        was_clean = array in self.model and self.model.is_clean(array)
        was_resident = self.model.evict(array)
        assert shelves.evict(self.tables, self.shelf, array) == was_resident
        if was_resident:  # it still tells whether that has cost a copy
            assert self.arrays["places"]["clean"][self.shelf, array] == was_clean

    @rule(array=ARRAY)
    def store_slow(self, array: int) -> None:
        if array not in self.model:
            self.model.store_slow(array, self.sizes[array])
        shelves.store_slow(self.tables, self.shelf, array)

    @rule(array=ARRAY)
    def discard(self, array: int) -> None:
        assert shelves.discard(self.tables, self.shelf, array) == self.model.discard(array)

    # A store knows sizes from the beginning.
    @precondition(lambda self: self.shelf == PREDICTED)
    @rule(array=ARRAY, nbytes=NBYTES)
    def resize(self, array: int, nbytes: int) -> None:
        expected = self.model.resize(array, nbytes)
        self.sizes[array] = nbytes
        shelves.resize(self.tables, self.shelf, array, nbytes)
        assert self.moved()[1] == expected

    @invariant()
    def the_same_is_resident_in_the_same_order(self) -> None:
        if not hasattr(self, "model"):
            return
        places, found = self.arrays["places"][self.shelf], []
        array = shelves.oldest(self.tables, self.shelf)
        while array < _ARRAYS:
            found.append(array)
            array = int(places["younger"][array])
        assert found == list(self.model)
        used = places["used"][found].tolist()
        assert used == sorted(set(used))

    @invariant()
    def the_same_is_clean_and_in_the_slow_tier(self) -> None:
        if not hasattr(self, "model"):
            return
        for array, place in enumerate(self.arrays["places"][self.shelf][:_ARRAYS]):
            assert (place["where"] == RESIDENT) == (array in self.model)
            assert (place["where"] == SLOW) == self.model.in_slow_tier(array)
            if array in self.model:
                assert place["clean"] == self.model.is_clean(array)

    @invariant()
    def sums_are_right(self) -> None:
        if not hasattr(self, "model"):
            return
        row = self.arrays["shelves"][self.shelf]
        assert row["resident_bytes"] == self.model.resident_bytes
        assert row["resident"] == len(self.model)
        assert row["slow_bytes"] == self.model.slow_bytes
        assert row["slow"] == sum(map(self.model.in_slow_tier, range(_ARRAYS)))


TestShelf = ShelfMachine.TestCase
TestShelf.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
