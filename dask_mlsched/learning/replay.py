"""The replay buffer: the decisions that training learns from, in a file of bounded size.

Records have sequence numbers from 1 on, and a place each in a ring: the record with number s goes
to place ``(s - 1) % capacity``, over the one that was there. A writer takes back the checksum of a
place before it writes there, and puts the new one after everything else. So a record counts once
it is complete, and a process that is killed in between leaves a torn record, which is passed over;
what was added before is there. Labels are added likewise.

Readers go on while there is a writer: they look at the counters in the file for what is new, and
compare the checksums before and after they have copied a record.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from dask_mlsched.learning import replay_file
from dask_mlsched.learning.decision_record import (
    DecisionRecord,
    Records,
    check_costs,
    check_decision,
)
from dask_mlsched.learning.replay_file import Mode, ReplayError, ReplayFile
from dask_mlsched.learning.replay_index import LABELS, NEXT, REMOVALS, Places, ReplayIndex
from dask_mlsched.learning.replay_info import Info, count
from dask_mlsched.learning.whole_file import move_into_place, temporary_for

#: Fields that say something only inside the file.
_INTERNAL: Final = {"checksum", "label", "reserved", "padding"}


class ReplayBuffer:
    """A buffer in a file; `create` and `open` make one, `close` or ``with`` give it back.

    Not for several threads at a time.
    """

    def __init__(self, file: ReplayFile) -> None:
        self._file = file
        self._index = ReplayIndex(file)
        if file.mode == "write":
            # A process may have been killed between a record and the counter.
            after = int(self._index.sequences.max(initial=0)) + 1
            file.counters[NEXT] = max(int(file.counters[NEXT]), after)

    @classmethod
    def create(cls, path: Path, names: Sequence[str], capacity: int) -> ReplayBuffer:
        """Make a buffer for features of these names, and open it for writing.

        Its file has all of its size at once: about 4.4 kB times the capacity for 32 features.

        Raises
        ------
        ReplayError
            If it exists or cannot be made.
        """
        replay_file.create(path, names, capacity)
        return cls.open(path, names, "write")

    @classmethod
    def open(
        cls, path: Path, names: Sequence[str] | None = None, mode: Mode = "read"
    ) -> ReplayBuffer:
        """Open a buffer; every record is looked at, about 3 microseconds each.

        Raises
        ------
        ReplayError
            If it is none, is of another version, holds other features than `names`, or, for
            writing, if another process writes to it.
        """
        return cls(ReplayFile(path, names, mode))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        self._index.refresh()
        return len(self._index)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features."""
        return self._file.names

    @property
    def capacity(self) -> int:
        """How many records are kept."""
        return self._file.capacity

    def close(self) -> None:
        """Give the file back; twice does no harm."""
        self._file.close()

    def flush(self) -> None:
        """Return when all is on disk. A killed process loses nothing, a machine that stops may."""
        self._file.flush()

    def add(self, decision: DecisionRecord) -> int:
        """Add a decision, over the oldest one if the buffer is full.

        Returns
        -------
        int
            Its sequence number, for `label`.

        Raises
        ------
        dask_mlsched.learning.decision_record.InvalidDecisionError
            If it is none; nothing has changed then.
        ReplayError
            If the buffer is open for reading.
        """
        self._writable()
        check_decision(decision, len(self.names))
        sequence = int(self._file.counters[NEXT])
        place = (sequence - 1) % self.capacity
        self._file.write_record(place, decision, sequence)
        self._file.counters[NEXT] = sequence + 1
        self._index.note(place, sequence)
        return sequence

    def label(self, sequence: int, costs: npt.ArrayLike) -> bool:
        """Say what each action of a decision would have cost; again, if better figures are known.

        Parameters
        ----------
        sequence
            As `add` returned it.
        costs
            [A] regrets in median task times, 0 or more; NaN where there is none.

        Returns
        -------
        bool
            False if the decision is no longer there.

        Raises
        ------
        dask_mlsched.learning.decision_record.InvalidDecisionError
            If these are no costs.
        ReplayError
            If the buffer is open for reading.
        """
        self._writable()
        place = self._index.place_of(sequence)
        if place is None:
            return False
        actions = int(self._file.columns["actions"][place])
        self._file.write_label(place, check_costs(costs, actions))
        self._file.counters[LABELS] += np.uint64(1)
        self._index.note(place, sequence, labelled=True)
        return True

    def sample(self, rng: np.random.Generator, n: int, *, labelled: bool = True) -> Records:
        """Draw records, each as likely as another, with replacement.

        Returns
        -------
        Records
            [n] a copy with the fields of `dask_mlsched.learning.decision_record.record_dtype`.

        Raises
        ------
        ReplayError
            If there are none to draw from.
        """
        self._index.refresh()
        batch, whole = self._index.copy(self._drawn(rng, n, labelled=labelled))
        while not whole.all():
            # Overwritten while they were being copied.
            self._index.refresh()
            late = np.flatnonzero(~whole)
            places = self._drawn(rng, len(late), labelled=labelled)
            batch[late], whole[late] = self._index.copy(places)
        return batch

    def records(self, *, labelled: bool = False) -> Records:
        """Return a copy of all records, or all that have labels, oldest first."""
        self._index.refresh()
        places = self._index.places(labelled=labelled)
        batch, whole = self._index.copy(places[np.argsort(self._index.sequences[places])])
        return batch if whole.all() else batch[whole]

    def holds_run(self, run: int) -> bool:
        """Tell whether there are decisions of the run with a number."""
        self._index.refresh()
        places = self._index.places(labelled=False)
        return bool((self._file.columns["run"][places] == np.uint64(run)).any())

    def info(self) -> Info:
        """Count what there is."""
        self._index.refresh()
        return count(self._file, self._index)

    def export(self, path: Path) -> int:
        """Write all records as arrays to a .npz file, and return how many there are.

        Raises
        ------
        OSError
            If it cannot be written; what was there stays.
        """
        records = self.records()
        columns: dict[str, Any] = {
            name: records[name] for name in records.dtype.names or () if name not in _INTERNAL
        }
        temporary = temporary_for(path)
        try:
            with temporary.open("xb") as file:
                np.savez(file, names=np.array(self.names), **columns)
                file.flush()
                os.fsync(file.fileno())
            move_into_place(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        return len(records)

    def prune(
        self,
        *,
        keep_newest: int | None = None,
        family: int | None = None,
        older_than: float | None = None,
    ) -> int:
        """Take records out: all but the newest, those of a family, or those from before a time.

        The file keeps its size; the places are written to when the ring comes round.

        Returns
        -------
        int
            How many were taken out.

        Raises
        ------
        ReplayError
            Unless one of the three is given, or if the buffer is open for reading.
        """
        self._writable()
        places = self._index.places(labelled=False)
        match keep_newest, family, older_than:
            case int(keep), None, None if keep >= 0:
                order = np.argsort(self._index.sequences[places])
                gone = places[order[: max(len(places) - keep, 0)]]
            case None, int(), None:
                gone = places[self._file.columns["family"][places] == family]
            case None, None, int() | float():
                gone = places[self._file.columns["time"][places] < older_than]
            case _:
                found = f"{keep_newest=}, {family=}, {older_than=}"
                raise self._error(found, "one of them, 0 or more", "prune several times")
        self._file.columns["sequence"][gone] = 0
        self._file.counters[REMOVALS] += np.uint64(1)
        self._index.note(gone, 0)
        return len(gone)

    def _drawn(self, rng: np.random.Generator, n: int, *, labelled: bool) -> Places:
        places = self._index.places(labelled=labelled)
        if not len(places):
            what = "labelled decisions" if labelled else "decisions"
            raise self._error(f"no {what}", "some to draw from", "run something first")
        drawn: Places = places[rng.integers(len(places), size=n)]
        return drawn

    def _writable(self) -> None:
        if self._file.mode == "read":
            raise self._error("open for reading", "mode='write'", "open it so")

    def _error(self, found: str, expected: str, cure: str) -> ReplayError:
        return replay_file.error(self._file.path, found, expected, cure)
