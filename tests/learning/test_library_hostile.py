"""Libraries in which somebody has put what does not belong there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dask_mlsched.learning import library_files, library_log, model_card, strict_json
from dask_mlsched.learning.library import Library
from dask_mlsched.learning.model_ref import LibraryError
from learning.libraries import check_written, version

REF = "gemm/v0001"
OTHER = "gemm/v0002"


@pytest.fixture
def library(tmp_path: Path) -> Library:
    library = Library.open(tmp_path / "library")
    version(library)
    version(library)
    library.move({"champion": OTHER}, "the better one")
    return library


def refused(library: Library, words: str = "") -> None:
    """The first version cannot be used, in one clear line; all else can."""
    reader = Library.reading(library.path)
    for use in (
        lambda: reader.network(REF),
        lambda: library.move({"challenger": REF}, "no"),
    ):
        with pytest.raises(LibraryError) as error:
            use()
        assert words in str(error.value)
        assert str(error.value).isprintable()
        assert len(str(error.value)) < 1500
    assert reader.network(reader.resolve("champion")) is not None
    problems = {each.ref: each.problem for each in reader.survey()}
    assert problems[OTHER] is None
    assert problems[REF]
    # Nor does it stand in the way of others, and it can be removed.
    third = version(library)
    library.remove(third, "not needed")
    library.remove(REF, "damaged")
    assert not os.path.lexists(library.path / REF)
    check_written(library)


def card(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda found: found | changes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda found: [], "no card"),
        (card(format="other"), "expected format"),
        (card(version=2), "version 2 of cards"),
        (lambda found: {k: v for k, v in found.items() if k != "digest"}, "without digest"),
        (card(name="lu"), "that of 'lu/v0001'"),
        (card(number=2), "that of 'gemm/v0002'"),
        (card(name="../../etc"), "number of a card"),
        (card(number=True), "number"),
        (card(number=10**30), "number"),
        (card(event=0), "event"),
        (card(event=2**60), "event"),
        (card(reason=5), "reason"),
        (card(reason="\x1b[2J"), "reason"),
        (card(made_by="\ud800"), "made_by"),
        (card(made_by="\u202eevil"), "made_by"),
        (card(parents="gemm/v0001"), "parents"),
        (card(parents=["../x"]), "parents"),
        (card(families=[5]), "families"),
        (card(figures={"gap": float("nan")}), "NaN"),
        (card(figures={"gap": 10**400}), "'gap'"),
        (card(figures={"gap": True}), "'gap'"),
        (card(figures=[1.0]), "figures"),
        (card(date="yesterday"), "date"),
        (card(date="2025-06-15"), "time zone"),
        (card(digest="0" * 63), "digest"),
        (card(digest="0" * 64), "not the one that its card tells of"),
        (card(extra={"a": ["b"]}), "extra"),
        (card(extra={"a": "x" * 300_000}), "256000 at most|bytes"),
    ],
)
def test_a_card_that_is_none(library: Library, change: Callable[[Any], Any], words: str) -> None:
    file = library.path / REF / "card.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    refused(library, words.split("|", maxsplit=1)[-1])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 100_000, "deeper"),
        (b'{"a":' * 50 + b"1" + b"}" * 50, "deeper"),
        (b'{"format": "mlsched-card", "format": "mlsched-card"}', "twice"),
        (b'{"format": "mlsched-card", "version": 1e999}', "1e999"),
        (b"9" * 5000, "no JSON"),
        (b" " * 10**6, "1000000 bytes"),
    ],
)
def test_a_card_that_is_not_even_json(library: Library, data: bytes, words: str) -> None:
    (library.path / REF / "card.json").write_bytes(data)
    refused(library, words)


@pytest.mark.parametrize("file", ["card.json", "model.safetensors"])
def test_links_are_not_followed(library: Library, tmp_path: Path, file: str) -> None:
    there = library.path / REF / file
    elsewhere = tmp_path / "elsewhere"
    there.rename(elsewhere)
    there.symlink_to(elsewhere)
    refused(library, "a link")
    assert elsewhere.exists()


@pytest.mark.parametrize("depth", [0, 1])
def test_folders_that_are_links_are_not_followed(
    library: Library, tmp_path: Path, depth: int
) -> None:
    link = [library.path / REF, library.path / "gemm"][depth]
    elsewhere = tmp_path / "elsewhere"
    link.rename(elsewhere)
    link.symlink_to(elsewhere)
    with pytest.raises(LibraryError, match="a link"):
        Library.reading(library.path).network(REF)
    problems = {each.ref: each.problem or "" for each in Library.reading(library.path).survey()}
    assert "a link" in problems["gemm" if depth else REF]
    if depth:
        with pytest.raises(LibraryError, match="a link"):
            version(library)
        with pytest.raises(LibraryError, match="a link"):
            library.remove(REF, "no")
        assert version(library, "lu") == "lu/v0001"
    else:
        library.remove(REF, "a link")
        assert not os.path.lexists(link)
    assert (elsewhere / "v0001" if depth else elsewhere).is_dir(), "what it led to stays"


def test_a_pipe_in_place_of_a_card_is_not_waited_for(library: Library) -> None:
    file = library.path / REF / "card.json"
    file.unlink()
    os.mkfifo(file)
    refused(library, "no regular file")


def test_a_file_or_an_empty_folder_in_place_of_a_version(library: Library) -> None:
    shutil.rmtree(library.path / REF)
    (library.path / REF).mkdir()
    refused(library, "card.json cannot be read")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b" " * 2_000_000,
        b'{"format": "mlsched-aliases", "version": 2}',
        b'{"format": "mlsched-aliases", "version": 1, "aliases": []}',
        b'{"format": "mlsched-aliases", "version": 1, "aliases": {"a": 1}}',
        b'{"format": "mlsched-aliases", "version": 1, "aliases": {"a": "../../etc"}}',
        b'{"format": "mlsched-aliases", "version": 1, "aliases": {"../a": "baseline"}}',
        b'{"format": "mlsched-aliases", "version": 1, "aliases": {}, "event": {"a": NaN}}',
        b'{"format": "mlsched-aliases", "version": 1, "aliases": {}, "event": 5}',
    ],
    ids=lambda data: repr(data[:70]),
)
def test_aliases_that_are_none(library: Library, data: bytes) -> None:
    file = library.path / "aliases.json"
    file.write_bytes(data)
    reader = Library.reading(library.path)
    for use in (
        reader.aliases,
        lambda: reader.resolve("champion"),
        lambda: version(library),
        lambda: library.move({"champion": "baseline"}, "no"),
        lambda: Library.open(library.path),
    ):
        with pytest.raises(LibraryError, match="take the file away"):
            use()
    assert reader.network(reader.resolve(REF)) is not None
    # The cure that is named is one.
    file.unlink()
    library.move({"champion": OTHER}, "again")
    assert Library.open(library.path).aliases() == {"champion": OTHER}


@pytest.mark.parametrize("name", ["aliases.json", "events.jsonl", ".lock"])
@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_files_of_the_library_itself_that_are_something_else(
    library: Library, tmp_path: Path, name: str, kind: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    file = library.path / name
    file.unlink()
    match kind:
        case "link":
            file.symlink_to(elsewhere)
        case "pipe":
            os.mkfifo(file)
        case _:
            file.mkdir()
    with pytest.raises((LibraryError, OSError)):
        library.move({"champion": "baseline"}, "no")
    with pytest.raises((LibraryError, OSError)):
        Library.open(library.path)
    assert elsewhere.read_text() == "mine"


def test_an_alias_that_leads_out_leads_nowhere(library: Library, tmp_path: Path) -> None:
    content = json.loads((library.path / "aliases.json").read_text())
    content["aliases"]["champion"] = "gemm/v0009"
    (library.path / "aliases.json").write_text(json.dumps(content))
    reader = Library.reading(library.path)
    assert reader.resolve("champion") == "gemm/v0009"
    with pytest.raises(LibraryError, match="it is not there"):
        reader.network(reader.resolve("champion"))


def test_lines_of_the_log_that_are_no_events_are_passed_over(library: Library) -> None:
    before = library.events()
    odd = [
        b"\xff\xfe",
        b"[" * 100_000,
        b"{}",
        b'{"sequence": 0, "time": 1, "event": "odd"}',
        b'{"sequence": 9, "time": NaN, "event": "odd"}',
        b'{"sequence": 9, "time": 1, "event": 5}',
        b'{"sequence": 9, "time": 1, "event": "odd", "figures": {"a": "b"}}',
        b'{"sequence": 9, "time": 1, "event": "odd", "parents": "a"}',
        b'{"sequence": true, "time": 1, "event": "odd"}',
        b'{"sequence": 9007199254740999, "time": 1, "event": "odd"}',
        b'{"sequence": 1, "time": 1, "event": "moved", "moves": {"champion": 5}}',
    ]
    with (library.path / "events.jsonl").open("ab") as file:
        file.write(b"\n".join(odd))
    assert Library.reading(library.path).events() == before
    version(library)
    check_written(library)


def test_moves_in_the_log_that_are_none_lead_nowhere(library: Library) -> None:
    with (library.path / "events.jsonl").open("a") as file:
        for number, moves in enumerate(
            ([], {"champion": "x"}, {"champion": ["../x", 5]}, {"champion": [[], {}]}), start=4
        ):
            line = {"sequence": number, "time": 1, "event": "moved", "moves": moves}
            file.write(json.dumps(line) + "\n")
    with pytest.raises(LibraryError, match="nothing else"):
        library.back("champion", "worse")


def test_too_large_a_log_is_one_clear_line(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library_log, "LOG_LIMIT", 100)
    with pytest.raises(LibraryError, match="expected 100 at most"):
        Library.reading(library.path).events()


def test_what_is_not_the_librarys_stays(library: Library) -> None:
    (library.path / ".git").mkdir()
    (library.path / "NOTES").write_text("mine")
    (library.path / "gemm" / "notes").mkdir()
    (library.path / ".new-1-1").mkdir()
    (library.path / ".gone-1-1").symlink_to(library.path / "gemm")
    (library.path / ".aliases.json-1-1").write_text("half")
    library = Library.open(library.path)
    assert sorted(path.name for path in library.path.iterdir()) == [
        ".git",
        ".lock",
        "NOTES",
        "aliases.json",
        "events.jsonl",
        "gemm",
    ]
    assert (library.path / OTHER).is_dir()
    assert library.names() == ["baseline", "gemm"]
    assert library.versions("gemm") == [REF, OTHER]


def test_moves_do_not_outgrow_what_is_read(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (library.path / "aliases.json").read_bytes()
    many = {f"family:{n}": "baseline" for n in range(20_000)}
    with pytest.raises(LibraryError, match=f"{library_files.ALIASES_LIMIT} at most"):
        library.move(many, "too many")
    assert (library.path / "aliases.json").read_bytes() == before


@given(
    data=st.binary(max_size=60)
    | st.text(max_size=60).map(lambda text: text.encode(errors="replace"))
)
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_bytes_are_json_or_an_error(data: bytes) -> None:
    for read in (strict_json.loads, model_card.from_json, library_files.parse_aliases):
        try:
            found = read(data)
        except ValueError:
            continue
        assert read is strict_json.loads
        assert json.loads(json.dumps(found, allow_nan=False)) == found
