"""A family's file: what is written is what is read, and what is no family is one clear error."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dask_mlsched.core.model_choice import BASELINE
from dask_mlsched.learning import family as family_file
from dask_mlsched.learning import whole_file
from dask_mlsched.learning.family import MOST_FINGERPRINTS, MOST_RUNS, Family, FamilyError, Run
from dask_mlsched.learning.fingerprint import fingerprint, merged
from learning.instances import factorization, product

SEEN = {f"program {n}": fingerprint(product(n).dag) for n in (3, 4)}
SECONDS = st.floats(0, allow_infinity=False)
TEXTS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), max_size=12)
RUNS = st.builds(
    Run,
    time=st.floats(0, 1e10),
    model=st.none() | TEXTS,
    program=TEXTS,
    seconds=SECONDS,
    baseline_seconds=SECONDS,
    measured=st.booleans(),
    bytes_moved=st.integers(0, 2**50),
    baseline_bytes=st.integers(0, 2**50),
    held_share=st.floats(0, 1),
    failures=st.integers(0, 10**6),
)
FAMILIES = st.builds(
    Family,
    name=TEXTS,
    fingerprints=st.just(SEEN),
    estimates=st.dictionaries(TEXTS, st.floats(-5, 5)),
    runs=st.lists(RUNS, max_size=5),
    banned=st.dictionaries(TEXTS, TEXTS),
    sent_back=st.none() | TEXTS,
    runs_left=st.integers(0, 99),
    strikes=st.integers(0, 99),
    count=st.integers(0, 10**9),
    attempt_at=st.integers(0, 10**9),
)


def a_family() -> Family:
    family = Family("gemm-1234", dict(SEEN), {"m/v0001": 0.25})
    family.ran(Run(1.0, "m/v0001", "program 3", 2.0, 3.0))
    return family


@given(family=FAMILIES)
@settings(max_examples=40, deadline=None)
def test_what_is_written_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, family: Family
) -> None:
    path = tmp_path_factory.mktemp("family") / "family.json"
    family_file.save(path, family)
    assert family_file.load(path) == family


@given(run=RUNS)
def test_a_gain_is_a_number_whatever_a_run_took(run: Run) -> None:
    assert math.isfinite(run.gain)
    if run.seconds == run.baseline_seconds:
        assert run.gain == 0


def test_gains() -> None:
    assert Run(0, None, "p", 1.0, 2.0).gain == pytest.approx(math.log(2))
    assert Run(0, None, "p", 0.0, 2.0).gain == Run(0, None, "p", 2.0, 0.0).gain == 0
    assert math.isfinite(Run(0, None, "p", 5e-324, 1.7e308).gain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "mlsched-instance"}, "is of 'mlsched-instance', version 1; expected 'mlsched-"),
        ({"version": 2}, "is of 'mlsched-family', version 2; expected 'mlsched-family', version 1"),
        ({"version": "1"}, "version '1'"),
        ({"fingerprints": {}}, "nothing tells its graphs by"),
        ({"fingerprints": {"p": {"version": 1}}}, "FingerprintError"),
        ({"fingerprints": ["p"]}, "AttributeError"),
        ({"estimates": {"m": "fast"}}, "'fast' is no number"),
        ({"estimates": {"m": None}}, "None is no number"),
        ({"estimates": {"m": True}}, "True is no number"),
        ({"runs": [{"seconds": 1.0}]}, "TypeError"),
        ({"runs": [7]}, "TypeError"),
        ({"runs": {"a": 1}}, "TypeError"),
        ({"sent_back": 3}, "it is sent back for 3"),
        ({"runs_left": -1}, "runs_left is -1"),
        ({"strikes": 10**30}, "strikes is 1000"),
        ({"strikes": 1.5}, "strikes is 1.5"),
        ({"count": "5"}, "count is '5'"),
        ({"attempt_at": None}, "attempt_at is None"),
        ({"banned": [1]}, "AttributeError"),
    ],
)
def test_what_is_no_family_is_one_clear_error(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "family.json"
    family_file.save(path, a_family())
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    expect(path, message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seconds": -1.0}, "a run took -1.0 s"),
        ({"baseline_seconds": "2"}, "'2' is no number"),
        ({"time": None}, "None is no number"),
        ({"held_share": -0.5}, "a run took"),
        ({"failures": "many"}, "failures is 'many'"),
        ({"bytes_moved": -5}, "bytes_moved is -5"),
        ({"baseline_bytes": 0.5}, "baseline_bytes is 0.5"),
        ({"model": ["m"]}, "by \\['m'\\]"),
        ({"program": 7}, "a run was of 7"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_nor_is_one_with_a_run_that_is_none(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "family.json"
    family_file.save(path, a_family())
    document = json.loads(path.read_text())
    document["runs"][0] |= change
    path.write_text(json.dumps(document))
    expect(path, message)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("place", ["estimates", "runs_left", "seconds", "held_share", "time"])
def test_nor_is_one_with_a_number_that_is_none(tmp_path: Path, number: str, place: str) -> None:
    path = tmp_path / "family.json"
    family_file.save(path, a_family())
    document = json.loads(path.read_text())
    if place == "estimates":
        document["estimates"]["m/v0001"] = "HERE"
    else:
        (document if place in document else document["runs"][0])[place] = "HERE"
    path.write_text(json.dumps(document).replace('"HERE"', number))
    expect(path, "holds no family")


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"7", b"null", b"\xff\xfe", b"[" * 100_000, b'{"format": 1}']
)
def test_nor_is_what_is_no_json(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "family.json"
    path.write_bytes(data)
    expect(path, "holds no family|is of 1")


def expect(path: Path, message: str) -> None:
    with pytest.raises(FamilyError, match=message) as caught:
        family_file.load(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert str(caught.value).endswith("; move it away")


def test_what_cannot_be_read_is_one_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expect(tmp_path / "none", "cannot be read \\(No such file")
    expect(tmp_path, "cannot be read \\(Is a directory")
    # Whoever opens it to read waits for somebody who writes.
    os.mkfifo(tmp_path / "pipe")
    expect(tmp_path / "pipe", "cannot be read")
    path = tmp_path / "family.json"
    family_file.save(path, a_family())
    monkeypatch.setattr(family_file, "SIZE_LIMIT", path.stat().st_size - 1)
    expect(path, "is too large; expected")


def test_whoever_is_killed_while_writing_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "family.json"
    before, after = a_family(), a_family()
    after.count = 99
    family_file.save(path, before)

    class KilledError(BaseException):
        pass

    def killed(*_: object) -> None:
        raise KilledError

    for place in ("move_into_place", "sync_folder"):
        with monkeypatch.context() as patch:
            patch.setattr(whole_file, place, killed)
            with pytest.raises(KilledError):
                family_file.save(path, after)
        expected = before if place == "move_into_place" else after
        assert family_file.load(path) == expected
        assert [each.name for each in tmp_path.iterdir()] == ["family.json"]


def test_a_disk_that_is_full_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "family.json"
    family_file.save(path, a_family())

    def full(_: int) -> None:
        raise OSError(28, "disk full, on purpose")

    monkeypatch.setattr(whole_file.os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        family_file.save(path, Family("other", dict(SEEN)))
    assert family_file.load(path) == a_family()


def test_the_latest_runs_and_programs_are_kept() -> None:
    family = Family("f")
    for number in range(MOST_RUNS + 7):
        family.ran(Run(number, "m", "p", 1.0, 1.0))
    assert (family.count, len(family.runs)) == (MOST_RUNS + 7, MOST_RUNS)
    assert (family.runs[0].time, family.runs[-1].time) == (7, MOST_RUNS + 6)
    seen = fingerprint(factorization(4).dag)
    for number in range(MOST_FINGERPRINTS + 2):
        family.saw(f"p{number}", seen)
    family.saw("p3", seen)
    assert list(family.fingerprints) == ["p2", "p4", "p5", "p6", "p7", "p3"]


def test_what_dask_alone_takes_is_the_median_of_its_own_runs_of_the_program() -> None:
    family = Family("f")
    assert family.baseline_seconds("p") is None
    for model, program, seconds in (
        *((BASELINE, "p", 3.0), (BASELINE, "p", 1.0), (BASELINE, "p", 2.0)),
        *((BASELINE, "q", 9.0), ("m", "p", 0.1), (None, "p", 0.1)),
    ):
        family.ran(Run(0, model, program, seconds, 1.0))
    assert (family.baseline_seconds("p"), family.baseline_seconds("q")) == (2.0, 9.0)


def test_the_prototype_is_what_its_programs_have_in_common() -> None:
    family = Family("f")
    for program, each in SEEN.items():
        family.saw(program, each)
        assert family.prototype == merged(list(family.fingerprints.values()))
    assert family.prototype == merged(list(SEEN.values()))
    assert family.may_decide("m")
    family.banned["m"] = "slow"
    assert not family.may_decide("m")
