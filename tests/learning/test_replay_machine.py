"""The replay buffer against a list, whatever is done to it in whatever order."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dask_mlsched.learning.replay import ReplayBuffer
from learning.decisions import NAMES, decision, is_whole

CAPACITY = 5


class ReplayMachine(RuleBasedStateMachine):
    """The model: a list of (sequence, number, costs or None), oldest first."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="mlsched-"))
        self.path = self.folder / "buffer"
        self.writer = ReplayBuffer.create(self.path, NAMES, CAPACITY)
        self.reader = ReplayBuffer.open(self.path)
        self.model: list[tuple[int, int, Any]] = []
        self.next = 1

    def teardown(self) -> None:
        self.writer.close()
        self.reader.close()
        shutil.rmtree(self.folder)

    @rule(number=st.integers(0, 50), actions=st.integers(1, 4))
    def add(self, number: int, actions: int) -> None:
        assert self.writer.add(decision(number, actions)) == self.next
        self.model.append((self.next, number, None))
        self.next += 1
        # A number's place is fixed, so what is pruned leaves a gap that is not filled.
        self.model = [each for each in self.model if each[0] > self.next - 1 - CAPACITY]

    @rule(back=st.integers(0, 7), cost=st.integers(0, 9))
    def label(self, back: int, cost: int) -> None:
        sequence = self.next - 1 - back
        there = [n for n, each in enumerate(self.model) if each[0] == sequence]
        actions = 1
        for record in self.writer.records():
            if record["sequence"] == sequence:
                actions = int(record["actions"])
        costs = [float(cost)] * actions
        assert self.writer.label(sequence, costs) == bool(there)
        for n in there:
            self.model[n] = (*self.model[n][:2], costs)

    @rule(keep=st.integers(0, 5))
    def prune_all_but_the_newest(self, keep: int) -> None:
        gone = max(len(self.model) - keep, 0)
        assert self.writer.prune(keep_newest=keep) == gone
        self.model = self.model[gone:]

    @rule(family=st.integers(0, 2))
    def prune_a_family(self, family: int) -> None:
        left = [each for each in self.model if each[1] % 3 != family]
        assert self.writer.prune(family=family) == len(self.model) - len(left)
        self.model = left

    @rule(time=st.integers(0, 50))
    def prune_what_is_old(self, time: int) -> None:
        left = [each for each in self.model if each[1] >= time]
        assert self.writer.prune(older_than=float(time)) == len(self.model) - len(left)
        self.model = left

    @rule()
    def open_again(self) -> None:
        self.writer.close()
        self.writer = ReplayBuffer.open(self.path, NAMES, "write")

    @rule()
    def another_reader(self) -> None:
        self.reader.close()
        self.reader = ReplayBuffer.open(self.path)

    @rule(seed=st.integers(0, 99), labelled=st.booleans())
    def sample(self, seed: int, labelled: bool) -> None:
        there = {each[0] for each in self.model if not labelled or each[2] is not None}
        for buffer in (self.writer, self.reader) if there else ():
            drawn = buffer.sample(np.random.default_rng(seed), 8, labelled=labelled)
            assert set(drawn["sequence"].tolist()) <= there
            assert all(map(is_whole, drawn))

    @invariant()
    def both_hold_what_the_list_holds(self) -> None:
        for buffer in (self.writer, self.reader):
            records = buffer.records()
            assert [(r["sequence"], r["worker"]) for r in records] == [e[:2] for e in self.model]
            assert all(map(is_whole, records))
            for record, (_, _, costs) in zip(records, self.model, strict=True):
                known = record["costs"][~np.isnan(record["costs"])]
                assert known.tolist() == (costs or [])
            info = buffer.info()
            assert info.torn == 0
            assert info.records == len(buffer) == len(self.model)
            assert info.labelled == sum(each[2] is not None for each in self.model)


TestReplayMachine = ReplayMachine.TestCase
TestReplayMachine.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
