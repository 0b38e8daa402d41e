"""The library of models: what is added stays as it is, what moves can go back, all is noted."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dask_mlsched.core.network import linear
from dask_mlsched.learning import library_events, library_writer
from dask_mlsched.learning.library import Library
from dask_mlsched.learning.library_files import LibraryFiles
from dask_mlsched.learning.library_log import Event, EventLog
from dask_mlsched.learning.model_card import network_digest
from dask_mlsched.learning.model_ref import LibraryError
from learning.libraries import check_written, refs, reopened, small_network, version

#: 15 June 2025, 15:06:40.125 UTC
NOW = 1.75e9 + 0.125


@pytest.fixture
def library(tmp_path: Path):
    library = Library.open(tmp_path / "library", now=lambda: NOW)
    yield library
    check_written(library)


def test_a_version_is_what_was_added(library: Library) -> None:
    first = version(library)
    ref = library.add(
        "gemm",
        small_network(1),
        made_by="merge",
        reason="größer ist besser",
        parents=[first, "baseline"],
        figures={"gap": np.float32(0.5), "runs": 3},
        families=["gemm", "lu"],
        extra={"note": "two\nlines"},
    )
    assert ref == "gemm/v0002"
    card = library.card(ref)
    assert (card.ref, card.name, card.number) == (ref, "gemm", 2)
    assert (card.made_by, card.reason) == ("merge", "größer ist besser")
    assert (card.parents, card.families) == (("gemm/v0001", "baseline"), ("gemm", "lu"))
    assert (card.figures, card.extra) == ({"gap": 0.5, "runs": 3.0}, {"note": "two\nlines"})
    assert (card.date, card.event) == ("2025-06-15T15:06:40.125Z", 2)
    found = library.network(ref)
    assert found is not None
    assert all(map(np.array_equal, found, small_network(1)))
    page = (library.path / ref / "README.md").read_text()
    for words in ["# gemm/v0002", "merge", "gemm/v0001, baseline", "| gap | 0.5 |", "two\nlines"]:
        assert words in page


def test_numbers_rise_and_are_not_used_again(library: Library) -> None:
    assert [version(library), version(library, "lu"), version(library)] == [
        "gemm/v0001",
        "lu/v0001",
        "gemm/v0002",
    ]
    library.remove("gemm/v0002", "worse")
    assert version(library) == "gemm/v0003"
    assert library.names() == ["baseline", "gemm", "lu"]
    assert library.versions("gemm") == ["gemm/v0001", "gemm/v0003"]
    assert library.versions("unknown") == []


def test_names_mean_the_newest_version_and_aliases_what_they_were_moved_to(
    library: Library,
) -> None:
    version(library)
    library.move({"champion": "gemm/v0001", "family:gemm-3fa2": "baseline"}, "first")
    version(library)
    assert library.resolve("gemm") == "gemm/v0002"
    assert library.resolve("champion") == "gemm/v0001"
    assert library.resolve("gemm/v0001") == "gemm/v0001"
    assert library.resolve("family:gemm-3fa2") == library.resolve("baseline") == "baseline"
    for unknown in ("lu", "gemm/v0003", "challenger", "../x", "Ω"):
        with pytest.raises(LibraryError, match=r"expected|has no"):
            library.resolve(unknown)


def test_baseline_is_always_there_and_stays_as_it_is(library: Library) -> None:
    assert library.names() == ["baseline"]
    assert library.versions("baseline") == ["baseline"]
    assert library.network("baseline") is None
    with pytest.raises(LibraryError, match="Dask's own order"):
        library.card("baseline")
    with pytest.raises(LibraryError, match="always there"):
        library.remove("baseline", "no")
    with pytest.raises(LibraryError, match="choose another"):
        version(library, "baseline")
    with pytest.raises(LibraryError, match="choose another"):
        library.move({"baseline": None}, "no")


def test_several_aliases_move_at_once_or_not_at_all(library: Library) -> None:
    first, second = version(library), version(library)
    library.move({"champion": first}, "the only one")
    library.move({"champion": second, "previous": first}, "better", {"gap": 0.25})
    assert library.aliases() == {"champion": second, "previous": first}
    event = library.events()[-1]
    assert (event.kind, event.what, event.why) == ("moved", "champion, previous", "better")
    assert event.figures == {"gap": 0.25}
    assert event.fields["moves"] == {"champion": [first, second], "previous": [None, first]}
    with pytest.raises(LibraryError, match="gemm/v0009"):
        library.move({"champion": first, "challenger": "gemm/v0009"}, "no")
    assert library.aliases() == {"champion": second, "previous": first}
    library.move({"previous": None, "challenger": None}, "away")
    assert library.aliases() == {"champion": second}
    assert library.events()[-1].fields["moves"] == {"previous": [first, None]}


def test_a_move_that_changes_nothing_is_no_event(library: Library) -> None:
    library.move({"champion": "baseline"}, "first")
    library.move({"champion": "baseline", "challenger": None}, "again")
    library.move({}, "nothing")
    assert [event.why for event in library.events()] == ["first"]


def test_going_back_twice_goes_two_steps_back(library: Library) -> None:
    first, second, third = (version(library) for _ in range(3))
    library.move({"champion": first}, "1")
    library.move({"champion": second, "previous": first}, "2")
    library.move({"champion": third, "previous": second}, "3")
    assert library.back("champion", "worse") == second
    assert library.aliases() == {"champion": second, "previous": first}
    assert library.back("champion", "worse still") == first
    assert library.aliases() == {"champion": first}
    with pytest.raises(LibraryError, match="nothing else"):
        library.back("champion", "no")
    # And on from there.
    library.move({"champion": third, "previous": first}, "4")
    assert library.back("champion", "worse again") == first
    kinds = [event.kind for event in library.events()[3:]]
    assert kinds == ["moved", "moved", "moved", "back", "back", "moved", "back"]


def test_going_back_passes_over_what_is_gone_or_damaged(library: Library) -> None:
    places = [version(library) for _ in range(4)]
    for place in places:
        library.move({"family:lu": place}, "on")
    library.remove(places[2], "not needed")
    model = library.path / places[1] / "model.safetensors"
    data = model.read_bytes()
    model.write_bytes(b"nonsense")
    assert library.back("family:lu", "worse") == places[0]
    model.write_bytes(data)
    with pytest.raises(LibraryError, match="nothing else"):
        library.back("family:lu", "worse")


def test_the_champion_goes_back_to_what_previous_says(library: Library) -> None:
    first, second = version(library), version(library)
    library.move({"champion": first}, "1")
    library.move({"champion": second, "previous": "baseline"}, "2")
    assert library.back("champion", "worse") == "baseline"
    assert library.aliases() == {"champion": "baseline", "previous": first}
    assert library.back("champion", "worse still") == first
    assert library.aliases() == {"champion": first}


def test_an_alias_that_was_taken_away_can_come_back(library: Library) -> None:
    library.move({"challenger": "baseline"}, "1")
    library.move({"challenger": None}, "2")
    assert library.back("challenger", "it was right") == "baseline"


def test_what_an_alias_means_is_not_removed(library: Library) -> None:
    first = version(library)
    library.move({"champion": first, "previous": first}, "1")
    with pytest.raises(LibraryError, match="champion, previous means"):
        library.remove(first, "no")
    with pytest.raises(LibraryError, match="is not in the library"):
        library.remove("gemm/v0002", "no")
    library.move({"champion": "baseline", "previous": None}, "2")
    library.remove(first, "worse")
    assert refs(library) == []
    assert library.events()[-1].what == first
    assert not (library.path / first).exists()


def test_a_network_is_found_again(library: Library) -> None:
    versions = [version(library, seed=seed) for seed in (1, 2, 1)]
    assert library.find(network_digest(small_network(2))) == versions[1]
    assert library.find(network_digest(small_network(1))) == versions[2]
    assert library.find(network_digest(small_network(3))) is None


def test_networks_of_the_same_weights_in_other_shapes_are_told_apart() -> None:
    network = small_network()
    turned = network._replace(w2=network.w2.reshape(1, -1))
    assert network_digest(network) != network_digest(turned)
    assert network_digest(network) == network_digest(small_network())


def test_notes_carry_what_json_holds(library: Library) -> None:
    version(library)
    number = library.note(
        "chosen", what="gemm/v0001", why="nearest", figures={"p": 0.5}, dag="3fa2", arms=[1, None]
    )
    event = library.events()[-1]
    assert number == event.sequence == 2
    assert event == Event(
        2,
        NOW,
        "chosen",
        "gemm/v0001",
        "nearest",
        {"p": 0.5},
        fields={"dag": "3fa2", "arms": [1, None]},
    )
    line = json.loads((library.path / "events.jsonl").read_text().splitlines()[-1])
    assert line == event.as_json()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda lib: version(lib, "../gemm"), "a-z"),
        (lambda lib: version(lib, "a" * 65), "64 at most"),
        (lambda lib: version(lib, "champion"), "champion"),
        (lambda lib: version(lib, "aliases.json"), "choose another"),
        (lambda lib: version(lib, reason="two\nlines"), "one line"),
        (lambda lib: version(lib, reason="\x1b[2J"), "one line"),
        (lambda lib: version(lib, reason="x" * 300_000), "256000 at most"),
        (
            lambda lib: lib.add("a", linear([1.0]), made_by="", reason=""),
            "1 names|32 names|features",
        ),
        (lambda lib: lib.add("a", small_network()._replace(b3=1), made_by="", reason=""), "b3"),
        (lambda lib: lib.add("a", small_network(), made_by="", reason="", parents=["b"]), "'b'"),
        (
            lambda lib: lib.add(
                "a", small_network(), made_by="", reason="", figures={"gap": float("nan")}
            ),
            "'gap' is nan; expected a finite number",
        ),
        (lambda lib: lib.add("a", small_network(), made_by="", reason="", extra={"a": 1}), "extra"),
        (lambda lib: lib.move({"Champion": "baseline"}, ""), "alias 'Champion'"),
        (lambda lib: lib.move({"champion": "gemm"}, ""), "expected a name, a slash"),
        (lambda lib: lib.move({"champion": "baseline"}, "a\nb"), "one line"),
        (lambda lib: lib.move({"champion": "baseline"}, "", {"a": float("inf")}), "finite"),
        (lambda lib: lib.move({"lu": "baseline"}, ""), "name of a model"),
        (lambda lib: version(lib, "gpu"), "is an alias"),
        (lambda lib: lib.remove("gemm/v1", ""), "expected a name"),
        (lambda lib: lib.note("moved"), "kind 'moved'"),
        (lambda lib: lib.note("a\nb"), "kind"),
        (lambda lib: lib.note("odd", sequence=5), "sequence"),
        (lambda lib: lib.note("odd", what=object()), "JSON|JSON serializable"),
        (lambda lib: lib.note("odd", more=float("nan")), "JSON"),
        (lambda lib: lib.note("odd", more=[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]), "deeper"),
        (lambda lib: lib.note("odd", more="x" * 2_000_000), "at most"),
        (lambda lib: lib.card("gemm/v0001/../../x"), "expected a name"),
        (lambda lib: lib.network("gemm/v0007"), "it is not there"),
    ],
)
def test_what_cannot_be_done_changes_nothing(library: Library, call: Any, words: str) -> None:
    version(library, "lu")
    library.move({"gpu": "lu/v0001"}, "there")
    before = sorted(library.path.rglob("*")), library.events()
    with pytest.raises(LibraryError, match=words) as error:
        call(library)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1000
    assert (sorted(library.path.rglob("*")), library.events()) == before


def test_who_reads_makes_nothing_and_changes_nothing(library: Library) -> None:
    ref = version(library)
    reader = Library.reading(library.path)
    for change in (
        lambda: version(reader),
        lambda: reader.move({"champion": ref}, ""),
        lambda: reader.back("champion", ""),
        lambda: reader.remove(ref, ""),
        lambda: reader.note("odd"),
    ):
        with pytest.raises(LibraryError, match="open it to write"):
            change()
    with pytest.raises(LibraryError, match="holds no library"):
        Library.reading(library.path / "gemm")
    with pytest.raises(LibraryError, match="holds no library"):
        Library.reading(library.path / "none")
    assert not (library.path / "none").exists()


def test_a_full_disk_leaves_the_library_as_it_was(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = version(library)
    library.move({"champion": "baseline"}, "1")
    events = library.events()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for change in (
            lambda: version(library),
            lambda: library.move({"champion": first}, "2"),
            lambda: library.remove(first, "3"),
        ):
            with pytest.raises(OSError, match="No space"):
                change()
            assert library.events() == events
            assert (refs(library), library.aliases()) == ([first], {"champion": "baseline"})
    reopened(library.path)


def test_a_change_whose_event_cannot_be_written_owes_it(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: EventLog, event: Event) -> None:
        raise OSError(28, "No space left on device")

    first = version(library)
    for change in (
        lambda: version(library),
        lambda: library.move({"champion": first}, "2"),
        lambda: library.remove("gemm/v0002", "3"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(EventLog, "append", full)
            change()
            with pytest.raises(OSError, match="No space"):
                library.move({"challenger": first}, "nothing is done on top of it")
        assert len(EventLog(library.path / "events.jsonl").read()) == len(library.events()) - 1
        assert library.events()[-1].recovered
        reopened(library.path)
    assert library.aliases() == {"champion": first}
    assert [event.recovered for event in library.events()] == [False, True, True, True]


def test_the_log_may_be_cut_anywhere_in_its_last_line(library: Library) -> None:
    log = library.path / "events.jsonl"
    version(library)
    version(library)
    for change in (
        lambda: version(library),
        lambda: library.move({"champion": "gemm/v0001"}, "why"),
    ):
        before = log.read_bytes()
        change()
        after = log.read_bytes()
        for cut in (*range(len(before), len(after), 23), len(after) - 1):
            log.write_bytes(after[:cut])
            assert len(reopened(library.path).events()) == len(library.events())
            reopened(library.path)
        log.write_bytes(after)


def test_a_lost_log_is_made_again_from_the_cards(library: Library) -> None:
    version(library, reason="first")
    library.move({"champion": "gemm/v0001"}, "on")
    version(library, reason="second")
    (library.path / "events.jsonl").unlink()
    events = reopened(library.path).events()
    assert [event.why for event in events] == ["first", "on", "second"]


def test_a_version_that_somebody_copied_in_is_noted(library: Library, tmp_path: Path) -> None:
    version(library)
    other = Library.open(tmp_path / "other")
    version(other, "lu", reason="from elsewhere")
    (other.path / "lu").rename(library.path / "lu")
    assert [(e.sequence, e.why) for e in reopened(library.path).events()] == [
        (1, "to see"),
        (2, "from elsewhere"),
    ]


def test_a_place_that_is_taken_is_passed_over(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    version(library)
    (library.path / "gemm" / "v0002").write_text("mine")
    assert version(library) == "gemm/v0003"
    with monkeypatch.context() as patch:
        # As if they came after it was looked.
        patch.setattr(LibraryFiles, "numbers", lambda self, name: [])
        patch.setattr(library_events, "last_number", lambda log, name: 0)
        assert version(library) == "gemm/v0004"
    assert (library.path / "gemm" / "v0002").read_text() == "mine"
    (library.path / "gemm" / "v0002").unlink()


def test_threads_may_share_a_library(library: Library) -> None:
    def use(number: int) -> None:
        for _ in range(5):
            library.move({f"family:{number}": version(library)}, "on")
            assert library.events()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(use, range(4)))
    assert len(refs(library)) == len(library.aliases()) * 5 == 20


def test_a_lock_that_is_not_given_back_is_one_clear_error(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library_writer, "PATIENCE", 0.05)
    other = Library.open(library.path)
    with library._writer.writing(), pytest.raises(TimeoutError, match="locked by another"):
        version(other)


def test_what_is_on_disk_is_synced_before_it_has_its_name(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file in the folder, and the folder's own names, before the folder is renamed."""
    done: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def synced(descriptor: int) -> None:
        done.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def renamed(path: Path, target: Path) -> Path:
        done.append(f"rename to {target.name}")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    version(library)
    claimed = done.index("rename to v0001")
    before = "".join(done[:claimed])
    assert all(name in before for name in ("model.safetensors", "card.json", "README.md", ".new-"))
    assert done[claimed + 1 :] == ["gemm", "library", "events.jsonl", "library"]
