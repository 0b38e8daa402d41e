"""The journal: lines are appended, and one that is torn is passed over."""

from __future__ import annotations

from pathlib import Path

from dask_mlsched.learning.journal import Journal


def test_events_come_back_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "events.jsonl")
    assert journal.read() == []
    journal.write("collected", 1.0, decisions=3)
    journal.write("refused", 2.5, reason="a\nb")
    assert journal.read() == [
        {"time": 1.0, "event": "collected", "decisions": 3},
        {"time": 2.5, "event": "refused", "reason": "a\nb"},
    ]
    assert len(journal.path.read_text().splitlines()) == 2


def test_a_line_that_was_cut_is_passed_over_and_the_next_one_is_not(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "events.jsonl")
    journal.write("first", 1.0)
    journal.write("cut", 2.0)
    for cut in range(1, 20):
        data = journal.path.read_bytes()
        journal.path.write_bytes(data[:-cut])
        journal.write("next", 3.0)
        assert [each["event"] for each in journal.read()] in (
            ["first", "next"],
            ["first", "cut", "next"],
        )
        journal.path.write_bytes(data)


def test_lines_that_are_no_events_are_passed_over(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "events.jsonl")
    journal.path.write_bytes(b'5\n[]\n{}\n{"event": 5}\n\xff\n\n')
    journal.write("mine", 1.0)
    assert [each["event"] for each in journal.read()] == ["mine"]
