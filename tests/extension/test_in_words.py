"""Text and HTML for people: readable, and never anything but text where a key stands."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dask_mlsched.extension.in_words import (
    WIDTH,
    Rows,
    Shown,
    bytes_text,
    html_lines,
    html_table,
    ordinal,
    seconds_text,
    short_key,
    text_table,
)

EVIL = "<script>alert('x')</script>"


class Sample(Shown):
    def lines(self) -> list[str]:
        return [f"it is {self['what']}"]

    def tables(self) -> list[tuple[Sequence[str], Rows]]:
        return [(("name", "n"), [[self["what"], "1"]]), (("empty",), [])]


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(0, "0"), (7, "7 bytes"), (1500, "1.5 kB"), (2.5e6, "2.5 MB"), (1.25e12, "1.2 TB")],
)
def test_bytes_are_in_the_unit_of_their_size(nbytes: float, text: str):
    assert bytes_text(nbytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (5e-5, "50 µs"),
        (0.0042, "4.2 ms"),
        (12.345, "12.3 s"),
        (12345.6, "12,346 s"),
        (999.7, "1,000 s"),
        (0.9997, "1,000 ms"),
    ],
)
def test_seconds_are_in_the_unit_of_their_size(seconds: float, text: str):
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (12, "12th"), (101, "101st")]
)
def test_places_are_written_as_people_say_them(number: int, text: str):
    assert ordinal(number) == text


def test_a_key_is_one_line_with_a_short_hash():
    token = "0123456789abcdef" * 2
    assert short_key((f"sum-{token}", 0, 1)) == "('sum-012345', 0, 1)"
    assert short_key("a\nb\t c") == "a b c"
    assert short_key("deadbeef") == "deadbeef"


def test_a_dictionary_is_still_one():
    sample = Sample(what="good")
    assert dict(sample) == {"what": "good"}
    assert sample["what"] == "good"


def test_a_terminal_shows_sentences_and_tables_that_have_rows():
    text = str(Sample(what="good"))
    assert text == repr(Sample(what="good"))
    assert text.startswith("it is good\n")
    assert "name" in text
    assert "empty" not in text


def test_markup_of_a_terminal_is_text_like_any_other():
    assert "[bold]x[/bold]" in text_table(("name",), [["[bold]x[/bold]"]])


def test_a_table_stays_within_the_width_of_a_terminal():
    rows = [["tcp://127.0.0.1:12345", *["1,234.5 MB"] * 6]]
    table = text_table(("worker", *"abcdef"), rows)
    assert max(map(len, table.splitlines())) <= WIDTH
    assert "tcp://127.0.0.1:12345" in table
    assert all(line.strip() for line in table.splitlines())


def test_a_notebook_shows_text_where_text_was_given():
    shown = Sample(what=EVIL)._repr_html_()
    assert "<script>" not in shown
    assert shown.count("&lt;script&gt;") == 2
    assert "<table>" in shown
    assert "<script>" not in html_lines([EVIL]) + html_table([EVIL], [[EVIL]])
