"""What of a replay buffer's file can be used: the complete records, and those with labels."""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from dask_mlsched.learning.decision_record import Records, checksum_of, label_of
from dask_mlsched.learning.replay_file import ReplayFile

Places: TypeAlias = npt.NDArray[np.intp]

#: Places of the counters in the file.
NEXT: Final = 0
LABELS: Final = 1
REMOVALS: Final = 2


class ReplayIndex:
    """Knows which places hold what; looks at every record once, and a reader at what is new.

    Parameters
    ----------
    file
        Is looked through, about 5 microseconds per record.
    """

    #: How many torn records were found in the beginning.
    torn: int

    def __init__(self, file: ReplayFile) -> None:
        self._file = file
        #: [capacity] the sequence number of the record at each place; 0 where there is none.
        self.sequences = np.zeros(file.capacity, np.uint64)
        self.labelled = np.zeros(file.capacity, np.bool_)
        #: [capacity] what stood for a label when it was last looked at, complete or not.
        self._labels = np.zeros(file.capacity, np.uint32)
        #: The places with labelled records, and with any; made when they are needed.
        self._places: dict[bool, Places] = {}
        # Before anything else is looked at: what comes in meanwhile will be looked at again.
        self._seen = file.counters.copy()
        found = np.flatnonzero(file.columns["sequence"])
        self._look_at(found)
        self.torn = len(found) - len(self)

    def __len__(self) -> int:
        return int(np.count_nonzero(self.sequences))

    def place_of(self, sequence: int) -> int | None:
        """Return where a record is, or None if it is no longer there."""
        place = (sequence - 1) % self._file.capacity
        return place if sequence > 0 and self.sequences[place] == sequence else None

    def places(self, *, labelled: bool) -> Places:
        """Return where all records are, or all that have labels."""
        if labelled not in self._places:
            self._places[labelled] = np.flatnonzero(self.labelled if labelled else self.sequences)
        return self._places[labelled]

    def note(self, places: int | Places, sequences: int, *, labelled: bool = False) -> None:
        """As the writer, note what is at some places now."""
        self.sequences[places] = sequences
        self.labelled[places] = labelled
        self._places.clear()

    def refresh(self) -> None:
        """As a reader, look at what a writer has done since."""
        counters = self._file.counters.copy()
        if self._file.mode == "write" or (counters == self._seen).all():
            return
        start, stop, capacity = int(self._seen[NEXT]), int(counters[NEXT]), self._file.capacity
        self._look_at((np.arange(max(start, stop - capacity), stop) - 1) % capacity)
        if counters[REMOVALS] != self._seen[REMOVALS]:
            self.sequences[self._file.columns["sequence"] == 0] = 0
            self.labelled &= self.sequences != 0
        if counters[LABELS] != self._seen[LABELS]:
            self._look_at_labels(np.flatnonzero(self._file.columns["label"] != self._labels))
        self._seen = counters
        self._places.clear()

    def copy(self, places: Places) -> tuple[Records, npt.NDArray[np.bool_]]:
        """Return records, and which of them were as they were known to be all the time.

        The others are being written to, or have been; they are looked at again. Costs that are no
        whole label are NaN.
        """
        if self._file.mode == "write":
            batch, whole = self._file.copy(places), np.ones(len(places), np.bool_)
        else:
            batch, whole = self._copied_as_a_reader(places)
        batch["costs"][~self.labelled[places]] = np.nan
        if not whole.all():
            self._look_at(np.unique(places[~whole]))
        return batch, whole

    def _copied_as_a_reader(self, places: Places) -> tuple[Records, npt.NDArray[np.bool_]]:
        columns = self._file.columns
        checksums, labels = columns["checksum"][places], columns["label"][places]
        batch = self._file.copy(places)
        # A writer takes these back before it changes what they vouch for, so they are compared
        # with what was known before copying, and with what is there after it.
        whole = (checksums != 0) & (columns["checksum"][places] == checksums)
        whole &= (labels == self._labels[places]) & (columns["label"][places] == labels)
        for sequences in (batch["sequence"], columns["sequence"][places]):
            whole &= sequences == self.sequences[places]
        return batch, whole

    def _look_at(self, places: Places) -> None:
        """Note which of these places hold complete records."""
        features, capacity = len(self._file.names), self._file.capacity
        for place in places.tolist():
            row = self._file.rows[place].copy()
            record = row.view(self._file.records.dtype)[0]
            sequence = int(record["sequence"])
            here = sequence > 0 and (sequence - 1) % capacity == place
            complete = here and record["checksum"] == checksum_of(row, features)
            self.sequences[place] = sequence if complete else 0
        self._look_at_labels(places)

    def _look_at_labels(self, places: Places) -> None:
        """Note which of the records at these places have all of their label."""
        for place in places.tolist():
            label = int(self._file.columns["label"][place])
            self._labels[place] = label
            complete = label != 0 and self.sequences[place] != 0
            costs = self._file.columns["costs"][place].copy()
            self.labelled[place] = complete and label_of(costs) == label
        self._places.clear()
