"""The replay buffer keeps the newest decisions, whoever is killed, and says why if it cannot."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dask_mlsched.learning import replay_file
from dask_mlsched.learning.decision_record import MAX_ACTIONS, InvalidDecisionError, record_dtype
from dask_mlsched.learning.replay import ReplayBuffer
from dask_mlsched.learning.replay_file import ReplayError
from learning.decisions import NAMES, decision, is_whole


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "buffer.mlsched-replay"


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def filled(path: Path, count: int, capacity: int = 8) -> ReplayBuffer:
    buffer = ReplayBuffer.create(path, NAMES, capacity)
    for number in range(count):
        buffer.add(decision(number, 1 + number % MAX_ACTIONS))
    return buffer


def numbers(buffer: ReplayBuffer, **which: bool) -> list[int]:
    return buffer.records(**which)["worker"].tolist()


def complaint(call: Any, *arguments: Any, **keywords: Any) -> str:
    with pytest.raises(ReplayError) as error:
        call(*arguments, **keywords)
    message = str(error.value)
    assert "\n" not in message
    assert "; expected " in message
    return message


def test_a_decision_comes_back_as_it_was_added(path: Path):
    added = decision(7, 33, source="simulated")
    with ReplayBuffer.create(path, NAMES, 4) as buffer:
        sequence = buffer.add(added)
        (record,) = buffer.records()
    assert np.array_equal(record["features"], added.features)
    for field in ("has_hold", "taken", "worker", "time", "run", "family", "median_task_seconds"):
        assert record[field] == getattr(added, field)
    assert record["log_propensity"] == np.float32(added.log_propensity)
    assert (record["sequence"], record["source"], record["actions"]) == (sequence, 1, 33)
    assert np.isnan(record["costs"]).all()


def test_the_ring_keeps_the_newest(path: Path):
    with filled(path, 20) as buffer:
        assert numbers(buffer) == list(range(12, 20))
        assert all(map(is_whole, buffer.records()))
        assert len(buffer) == 8


def test_everything_is_there_when_it_is_opened_again(path: Path):
    with filled(path, 20) as buffer:
        buffer.label(15, np.arange(15.0))
        before = buffer.records()
    for mode in ("read", "write"):
        with ReplayBuffer.open(path, NAMES, mode) as buffer:
            assert buffer.records().tobytes() == before.tobytes()
            assert numbers(buffer, labelled=True) == [14]
            assert buffer.info().torn == 0


def test_sequence_numbers_go_on(path: Path):
    with filled(path, 3):
        pass
    with ReplayBuffer.open(path, mode="write") as buffer:
        assert buffer.add(decision(3)) == 4
        buffer.prune(keep_newest=0)
        assert buffer.add(decision(4)) == 5
    with ReplayBuffer.open(path, mode="write") as buffer:
        assert buffer.add(decision(5)) == 6
        assert numbers(buffer) == [4, 5]


def test_labels_belong_to_their_decision_and_can_be_bettered(path: Path):
    with filled(path, 3) as buffer:
        assert buffer.label(2, [1.0, 0.0])
        assert buffer.label(3, [0.0, np.nan, 4.0])
        assert buffer.label(2, [0.0, 2.0])
        second, third = buffer.records(labelled=True)
    np.testing.assert_array_equal(second["costs"][:3], [0.0, 2.0, np.nan])
    np.testing.assert_array_equal(third["costs"][:4], [0.0, np.nan, 4.0, np.nan])


def test_a_label_for_what_is_no_longer_there_is_no_mistake(path: Path):
    with filled(path, 9) as buffer:
        assert not buffer.label(1, [0.0])
        assert not buffer.label(10, [0.0])
        assert not buffer.label(0, [0.0])
        assert buffer.label(2, [0.0, 1.0])


def test_a_new_record_does_not_inherit_a_label(path: Path):
    with filled(path, 8) as buffer:
        buffer.label(1, [0.0])
        buffer.add(decision(8))
        assert numbers(buffer, labelled=True) == []
        assert np.isnan(buffer.records()["costs"]).all()


def test_samples_are_drawn_evenly_from_what_is_labelled(path: Path, rng: np.random.Generator):
    with filled(path, 12) as buffer:
        for sequence in (5, 8, 10):
            buffer.label(sequence, np.zeros(sequence))
        drawn = buffer.sample(rng, 3_000)["sequence"]
        every = buffer.sample(rng, 3_000, labelled=False)["sequence"]
    assert dict(zip(*np.unique(drawn, return_counts=True), strict=True)) == {
        sequence: pytest.approx(1_000, abs=120) for sequence in (5, 8, 10)
    }
    assert set(every.tolist()) == set(range(5, 13))


def test_samples_follow_the_generator(path: Path):
    with filled(path, 12) as buffer:
        one, two = (
            buffer.sample(np.random.default_rng(3), 50, labelled=False)["sequence"] for _ in "ab"
        )
    assert one.tolist() == two.tolist()


def test_samples_are_copies(path: Path, rng: np.random.Generator):
    with filled(path, 1) as buffer:
        buffer.sample(rng, 5, labelled=False)["features"][:] = 99
        assert all(map(is_whole, buffer.records()))


def test_readers_see_what_a_writer_does(path: Path, rng: np.random.Generator):
    with filled(path, 3) as writer, ReplayBuffer.open(path) as reader:
        assert numbers(reader) == [0, 1, 2]
        writer.add(decision(3))
        assert numbers(reader) == [0, 1, 2, 3]
        writer.label(2, [0.0, 1.0])
        assert set(reader.sample(rng, 9)["sequence"].tolist()) == {2}
        for number in range(4, 25):
            writer.add(decision(number))
        assert numbers(reader) == list(range(17, 25))
        assert "no labelled decisions" in complaint(reader.sample, rng, 1)
        writer.prune(keep_newest=2)
        assert numbers(reader) == [23, 24]
        writer.prune(keep_newest=0)
        assert len(reader) == 0


def test_a_reader_never_draws_what_is_half_written(path: Path, rng: np.random.Generator):
    with filled(path, 8) as writer, ReplayBuffer.open(path) as reader:
        # As a writer leaves it that is stopped in the middle of a record and of a label.
        for sequence in (2, 3):
            writer.label(sequence, np.zeros(sequence))
        assert len(reader.records(labelled=True)) == 2
        writer._file.columns["checksum"][1] = 0
        writer._file.columns["features"][1] = 99
        writer._file.columns["label"][2] = 0
        assert {1, 3} <= set(reader.sample(rng, 99, labelled=False)["sequence"].tolist())
        assert 2 not in reader.sample(rng, 99, labelled=False)["sequence"]
        assert numbers(reader) == [0, 2, 3, 4, 5, 6, 7]
        assert "no labelled decisions" in complaint(reader.sample, rng, 1)


def test_a_reader_does_not_write(path: Path):
    with filled(path, 2):
        pass
    with ReplayBuffer.open(path) as reader:
        assert "mode='write'" in complaint(reader.add, decision())
        assert "mode='write'" in complaint(reader.label, 1, [0.0])
        assert "mode='write'" in complaint(reader.prune, keep_newest=0)


def test_there_is_one_writer_and_any_number_of_readers(path: Path):
    with filled(path, 2), ReplayBuffer.open(path), ReplayBuffer.open(path):
        message = complaint(ReplayBuffer.open, path, mode="write")
        assert f"process {os.getpid()} is writing" in message
        assert "expected one writer" in message
    with ReplayBuffer.open(path, mode="write") as buffer:
        assert len(buffer) == 2


def test_a_buffer_that_could_not_be_opened_is_not_locked(path: Path):
    with filled(path, 2):
        pass
    complaint(ReplayBuffer.open, path, ("other",), "write")
    with ReplayBuffer.open(path, mode="write"):
        pass


@pytest.mark.parametrize(
    ("names", "words"),
    [(("missing", "rank", "age"), "feature 1 is age, not rank"), (("a",), "3 features, not 1")],
)
def test_other_features_are_refused(path: Path, names: tuple[str, ...], words: str):
    with filled(path, 1):
        pass
    assert words in complaint(ReplayBuffer.open, path, names)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: b"", "is empty"),
        (lambda data: b"x" * len(data), "no replay buffer"),
        (lambda data: data[:100], "no replay buffer"),
        (lambda data: data[:8] + struct.pack("<I", 2) + data[12:], "version 2; expected 1"),
        (lambda data: data[:70] + b"#" + data[71:], "a damaged header"),
        (lambda data: data[:-1], "bytes; expected "),
    ],
)
def test_a_file_that_is_no_buffer_is_refused(path: Path, damage: Any, words: str):
    with filled(path, 1):
        pass
    path.write_bytes(damage(path.read_bytes()))
    assert words in complaint(ReplayBuffer.open, path)
    assert repr(str(path)) in complaint(ReplayBuffer.open, path, mode="write")


def test_a_file_that_is_not_there_is_refused(path: Path):
    assert "No such file" in complaint(ReplayBuffer.open, path)


def test_bytes_that_changed_on_disk_are_torn_records(path: Path):
    with filled(path, 8) as buffer:
        buffer.label(5, np.zeros(5))
        buffer.label(6, np.zeros(6))
        buffer._file.rows[2, 100] ^= 1
        buffer._file.columns["costs"][4, 0] += 1
        buffer._file.columns["sequence"][7] += 1
    with ReplayBuffer.open(path) as buffer:
        assert numbers(buffer) == [0, 1, 3, 4, 5, 6]
        assert numbers(buffer, labelled=True) == [5]
        assert buffer.info().torn == 2


def test_an_existing_file_is_not_overwritten(path: Path):
    with filled(path, 2):
        pass
    before = path.read_bytes()
    assert "exists" in complaint(ReplayBuffer.create, path, NAMES, 8)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("names", "capacity", "words"),
    [
        (NAMES, 0, "capacity 0; expected 1 or more"),
        ((), 1, "0 names"),
        (("a", "a"), 1, "all different"),
        (("a" * 20_000,), 1, "16 kB"),
        (NAMES, 10**12, "lower the capacity"),
    ],
)
def test_what_cannot_be_made_leaves_nothing(path: Path, names: Any, capacity: int, words: str):
    assert words in complaint(ReplayBuffer.create, path, names, capacity)
    assert {each.name for each in path.parent.iterdir()} <= {f"{path.name}.lock"}


def test_the_file_has_its_full_size_from_the_beginning(path: Path):
    with ReplayBuffer.create(path, NAMES, 100) as buffer:
        expected = 16_384 + 100 * record_dtype(3).itemsize
        assert path.stat().st_size == buffer.info().nbytes == expected
        assert path.stat().st_blocks * 512 >= expected


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"features": np.zeros((2, 4), np.float32)}, "(2, 4); expected float32 [A, 3]"),
        ({"features": np.zeros((2, 3))}, "float64"),
        ({"features": np.zeros((34, 3), np.float32)}, "34 actions; expected 1 to 33"),
        ({"features": np.full((2, 3), np.nan, np.float32)}, "not finite"),
        ({"taken": 2}, "taken is 2"),
        ({"taken": -1}, "taken is -1"),
        ({"source": "dreamt"}, "'dreamt'; expected one of live, simulated"),
        ({"run": 2**64}, "run is 18446744073709551616"),
        ({"worker": 2**31}, "31 bits"),
        ({"family": -1}, "family -1"),
    ],
    ids=str,
)
def test_what_is_no_decision_changes_nothing(path: Path, fields: Any, words: str):
    with filled(path, 8) as buffer:
        before = buffer.records().tobytes()
        with pytest.raises(InvalidDecisionError) as error:
            buffer.add(decision(**fields))
        assert words in str(error.value)
        assert buffer.records().tobytes() == before


@pytest.mark.parametrize(
    "costs", [[0.0], [0.0, 1.0, 2.0], [-1.0, 0.0], [np.nan, np.nan], [np.inf, 0.0], [[0.0, 1.0]]]
)
def test_what_are_no_costs_change_nothing(path: Path, costs: Any):
    with filled(path, 2) as buffer:
        buffer.label(2, [3.0, 0.0])
        with pytest.raises(InvalidDecisionError, match="expected"):
            buffer.label(2, costs)
        assert buffer.records()[1]["costs"][:2].tolist() == [3.0, 0.0]


def test_info_counts(path: Path):
    with filled(path, 11) as buffer:
        buffer.label(8, np.zeros(8))
        info = buffer.info()
    assert (info.names, info.capacity, info.path) == (NAMES, 8, path)
    assert (info.records, info.labelled, info.live, info.simulated) == (8, 1, 4, 4)
    assert (info.runs, info.families) == (8, {0: 3, 1: 3, 2: 2})
    assert (info.oldest, info.newest, info.torn) == (3.0, 10.0, 0)


def test_info_of_an_empty_buffer(path: Path, rng: np.random.Generator):
    with ReplayBuffer.create(path, NAMES, 8) as buffer:
        info = buffer.info()
        assert (info.records, info.families, info.oldest, info.newest) == (0, {}, None, None)
        assert len(buffer.records()) == 0
        assert "no decisions" in complaint(buffer.sample, rng, 1, labelled=False)


@pytest.mark.parametrize(
    ("criterion", "left"),
    [
        ({"keep_newest": 3}, [8, 9, 10]),
        ({"keep_newest": 99}, list(range(3, 11))),
        ({"family": 1}, [3, 5, 6, 8, 9]),
        ({"older_than": 6.0}, [6, 7, 8, 9, 10]),
    ],
)
def test_pruning_takes_records_out_for_good(path: Path, criterion: Any, left: list[int]):
    with filled(path, 11) as buffer:
        assert buffer.prune(**criterion) == 8 - len(left)
        assert numbers(buffer) == left
    with ReplayBuffer.open(path, mode="write") as buffer:
        assert (numbers(buffer), buffer.info().torn) == (left, 0)
        buffer.add(decision(11))
        assert numbers(buffer) == [*[n for n in left if n > 3], 11]


@pytest.mark.parametrize("criterion", [{}, {"keep_newest": -1}, {"family": 1, "older_than": 2.0}])
def test_pruning_goes_by_one_criterion(path: Path, criterion: Any):
    with filled(path, 3) as buffer:
        assert "expected one of them" in complaint(buffer.prune, **criterion)
        assert len(buffer) == 3


def test_an_export_holds_every_field(path: Path, tmp_path: Path):
    with filled(path, 11) as buffer:
        buffer.label(8, np.arange(8.0))
        assert buffer.export(tmp_path / "all.npz") == 8
    with np.load(tmp_path / "all.npz", allow_pickle=False) as arrays:
        assert arrays["names"].tolist() == list(NAMES)
        assert arrays["features"].shape == (8, MAX_ACTIONS, 3)
        assert arrays["worker"].tolist() == list(range(3, 11))
        assert np.isnan(arrays["costs"]).all(axis=1).tolist() == [n != 7 for n in range(3, 11)]
        assert {"run", "family", "time", "log_propensity", "taken", "source"} <= set(arrays)


def test_closing_gives_everything_back(path: Path):
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    buffer = filled(path, 3)
    buffer.flush()
    buffer.close()
    buffer.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
    assert sorted(each.name for each in path.parent.iterdir()) == [path.name, f"{path.name}.lock"]


def test_names_of_files_end_alike():
    assert replay_file.SUFFIX == ".mlsched-replay"
