"""`dask mlsched report`, as users and programs call it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from click.testing import CliRunner, Result

from core.graphs import gemm
from core.recorded import RecordedDask
from core.recorded_simulations import COSTS, block_product, recorded_bytes
from dask_mlsched.benchmarks.run_report import findings
from dask_mlsched.cli import mlsched
from dask_mlsched.core import judgement
from dask_mlsched.core.machine import Machine, SimulationError
from dask_mlsched.core.policies import Greedy, GreedyHold
from evil_names import EVIL, evil_trace

DAG = block_product(3)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(
        mlsched, ["report", *map(str, arguments)], prog_name="dask mlsched", color=False
    )


def made(trace: Path, *arguments: object) -> tuple[str, dict[str, Any]]:
    """Make the report beside a trace; return the page and the figures."""
    out, figures = trace.with_suffix(".html"), trace.with_suffix(".json")
    result = call("--trace", trace, "--out", out, "--json", figures, "--decisions", 3, *arguments)
    assert result.exit_code == 0, result.output
    return out.read_text(), json.loads(figures.read_text())


def written(path: Path, policy: str, **machine: Any) -> Path:
    cluster = Machine(**{"limit": 600_000, "costs": COSTS, **machine})
    path.write_bytes(recorded_bytes(DAG, cluster, policy)[1])
    return path


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return written(tmp_path / "run.mlsched-trace", "random")


class _Text(HTMLParser):
    """What a reader sees of a page, pictures aside, and the tags that it is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._hidden += tag in {"script", "style"}

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in {"script", "style"}

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.text.append(data)


def read(page: str) -> _Text:
    found = _Text()
    found.feed(page)
    return found


def seen(page: str) -> str:
    return " ".join("".join(read(page).text).split())


def test_people_are_told_what_the_run_came_to_and_against_what(trace: Path):
    page, figures = made(trace, "--title", "My run")
    text = seen(page)
    live = figures["live"]
    assert text.count("My run") == 2  # once as the title of the window
    assert f"{len(DAG)} tasks on 1 worker took {1e3 * live['makespan']:.0f} ms and moved" in text
    assert "Dask alone would have taken" in text
    assert f"comes out {100 * figures['gate']['error']:.1f} % off." in text
    assert "No schedule of these tasks can take less than" in text
    for part in (
        "What every thread did",
        "Bytes moved",
        "What was in the fast tiers",
        "The costliest decisions",
        "What decided",
        "put together",
    ):
        assert part in text


def test_programs_get_the_same_figures(trace: Path):
    _, figures = made(trace)
    live, alone = figures["live"], figures["dask_alone"]
    assert figures["gate"]["passed"]
    assert live["makespan"] >= figures["bounds"]["makespan"] > 0
    assert live["bytes_loaded"] + live["bytes_evicted"] >= figures["bounds"]["bytes_moved"]
    assert alone["makespan"] > 0
    (worker,) = figures["workers"]
    assert sum(worker["seconds"].values()) == pytest.approx(live["makespan"])
    assert figures["judged"] == 3
    assert figures["tasks"] == sum(figures["decisions"]["runs"].values()) == len(DAG)
    regrets = [each["regret"] for each in figures["costliest"]]
    assert regrets == sorted(regrets, reverse=True)


def test_the_page_needs_nothing_else(trace: Path):
    page, _ = made(trace)
    for tag, attributes in read(page).tags:
        for name in ("src", "href"):
            value = attributes.get(name)
            assert value is None or value.startswith("data:"), (tag, value)
    assert "@import" not in page
    assert len(page) < 3_000_000
    (policy,) = re.findall(r"Content-Security-Policy\"\s+content=\"([^\"]+)\"", page)
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy


def test_names_of_users_are_text_and_never_markup(tmp_path: Path):
    page, figures = made(evil_trace(tmp_path / "evil"), "--title", EVIL[2], "--top", 3)
    (plain, _) = made(written(tmp_path / "plain", "greedy", workers=2))
    evil, harmless = read(page), read(plain)
    # As many scripts as a page without such names has, no picture, no handler.
    assert [t for t, _ in evil.tags].count("script") == [t for t, _ in harmless.tags].count(
        "script"
    )
    assert not any(tag in {"img", "iframe", "object"} for tag, _ in evil.tags)
    assert not any(name.startswith("on") for _, found in evil.tags for name in found)
    text = "".join(evil.text)
    for name in (EVIL[0], EVIL[1], EVIL[2]):
        assert name in text
    assert "1337" not in text  # nobody worked out what stands in braces
    assert figures["workers"][0]["address"] == f"tcp://{EVIL[0]}"
    assert any(each["chosen"].startswith(tuple(EVIL)) for each in figures["costliest"])


def test_a_run_that_the_simulation_does_not_explain_says_so_instead_of_figures(trace: Path):
    with mock.patch.object(judgement, "TOLERANCE", 0.0):
        page, figures = made(trace)
    text = seen(page)
    assert "Decisions cannot be judged: the run again comes to" in text
    assert "too far to believe what is simulated here" in text
    assert (figures["gate"]["passed"], figures["judged"], figures["costliest"]) == (False, 0, [])


def test_a_run_that_cannot_be_simulated_at_all_still_has_its_timeline(trace: Path):
    with mock.patch.object(findings, "repeat", side_effect=SimulationError("too <large>")):
        page, figures = made(trace)
    text = seen(page)
    assert "What Dask alone would have taken cannot be simulated: too <large>." in text
    assert "Decisions cannot be judged: too <large>." in text
    assert figures["dask_alone"] is figures["gate"] is None
    assert figures["workers"]


def test_where_dask_decided_the_page_says_so(tmp_path: Path):
    page, figures = made(written(tmp_path / "t", "stock", workers=2))
    text = seen(page)
    assert "Dask decided alone." in text
    assert "Simulated, Dask alone comes to" in text
    assert "observe: Dask decided, and was only watched" in text
    assert figures["stock"]
    assert figures["decisions"]["by_dask"] == len(DAG)


def test_a_trace_that_is_cut_says_so_on_its_page(tmp_path: Path):
    dag, trace = block_product(6), tmp_path / "t"
    whole = recorded_bytes(dag, Machine(600_000, costs=COSTS), "greedy")[1]
    trace.write_bytes(whole[: len(whole) * 2 // 3])
    page, figures = made(trace)
    assert "The recording ends before the run did:" in seen(page)
    assert not figures["complete"]
    assert 0 < figures["tasks"] < len(dag)


@pytest.mark.parametrize(
    "machine",
    [
        {"limit": None},
        {"limit": 10**9},
        {"workers": 3, "threads": 2},
        {"overlap": True},
        {"keep_clean": True},
    ],
    ids=str,
)
def test_clusters_of_all_kinds(tmp_path: Path, machine: dict[str, Any]):
    page, figures = made(written(tmp_path / "t", "greedy-hold", **machine))
    assert ("What was in the fast tiers" in page) == (machine.get("limit", 1) is not None)
    assert len(figures["workers"]) == machine.get("workers", 1)
    for worker in figures["workers"]:
        there = (worker["end"] - worker["start"]) * worker["threads"]
        assert sum(worker["seconds"].values()) == pytest.approx(there)


def test_workers_may_leave_and_others_come(tmp_path: Path):
    dask = RecordedDask(GreedyHold(), bandwidth=8.0, hold_limit=64.0)
    dask.join(0, threads=1, limit=64)
    dask.join(1, threads=2, limit=64)
    dask.submit(gemm(3))
    dask.decide()
    for step in range(8):
        time = dask.next_time()
        assert time is not None
        dask.advance(time)
        if step == 4:
            dask.leave(1)
        if step == 6:
            dask.join(1, limit=96)
    dask.run()
    page, figures = made(closed(dask, tmp_path / "t"))
    assert [worker["end"] < figures["live"]["makespan"] for worker in figures["workers"]] == [
        False,
        True,
        False,
    ]
    assert sum(worker["stopped"] for worker in figures["workers"]) > 0
    assert "Tasks that ended without a result" in seen(page)
    assert figures["unequal"].endswith("a worker left in the run, a worker came in the run")
    assert figures["bounds"] is None


def closed(dask: RecordedDask, path: Path) -> Path:
    """Write down what a virtual Dask did."""
    dask.recorder.close()
    path.write_bytes(b"".join(dask.parts))
    return path


def test_arrays_of_an_earlier_run_are_no_loads_that_anybody_could_have_saved(tmp_path: Path):
    dask = RecordedDask(Greedy(), bandwidth=8.0)
    dask.join(0, limit=90)
    for place in range(3):
        dask.scatter(f"x-{place}", 20, [0])
    dask.submit("x-0 x-1 -> a-1 -> b-1\nx-2 -> a-2 -> b-1\nx-0 -> a-3 -> b-1")
    dask.run()
    page, figures = made(closed(dask, tmp_path / "t"))
    # Nothing was loaded, and in a simulation all of it would be.
    assert figures["live"]["bytes_loaded"] == 0
    assert figures["simulated"]["bytes_loaded"] >= 60
    assert figures["left_over"] == {"arrays": 3, "bytes": 60}
    assert figures["dask_alone"] is None
    bound = figures["bounds"]
    assert (bound["bytes_loaded"], bound["bytes_moved"], bound["bytes_evicted"]) == (None, None, 0)
    assert 0 < bound["makespan"] <= figures["live"]["makespan"]
    text = seen(page)
    assert text.count("the run reads 3 arrays (60 bytes) that none of its tasks made") == 1
    assert "nobody can tell which of them were on the device" in text
    assert "Simulations begin with all of that off the device" in text
    assert "Dask alone would have taken" not in text
    assert "Dask alone, simulated" not in page  # the curve
    assert "can take less than" not in text
    assert "Even a schedule that moves none of those arrays cannot take less than" in text
    assert "The lower bound on loads" not in text
    (bound_row,) = re.findall(r"Lower bound</td>.*?</tr>", page, re.DOTALL)
    assert bound_row.count("<td>–</td>") == 3  # loaded, moved in all, sent


def test_results_that_were_released_on_the_way_are_no_evictions(tmp_path: Path):
    dask = RecordedDask(Greedy(), bandwidth=8.0)
    dask.join(0, limit=90)
    for turn in range(6):
        dask.submit(f"a-{turn}:20 -> b-{turn}:30")
        dask.run()
        dask.release(f"b-{turn}")
    page, figures = made(closed(dask, tmp_path / "t"))
    # All results were never there at once, and nothing had to go out.
    assert figures["live"]["bytes_evicted"] == 0
    assert figures["simulated"]["bytes_evicted"] > 0
    # The last one was released after the run.
    assert figures["released_bytes"] == 150
    assert figures["dask_alone"] is None
    bound = figures["bounds"]
    assert (bound["bytes_loaded"], bound["bytes_evicted"], bound["bytes_moved"]) == (0, None, None)
    assert 0 < bound["makespan"] <= figures["live"]["makespan"]
    text = seen(page)
    assert "150 bytes of the run's results were released while it went on" in text
    assert "Dask alone would have taken" not in text
    assert "No schedule" not in text


def test_a_single_array_of_an_earlier_run_is_told_as_one(tmp_path: Path):
    dask = RecordedDask(Greedy(), bandwidth=8.0)
    dask.join(0, limit=90)
    dask.scatter("x", 20, [0])
    dask.submit("x -> a")
    dask.run()
    text = seen(made(closed(dask, tmp_path / "t"))[0])
    assert "the run reads an array (20 bytes) that none of its tasks made" in text
    assert "nobody can tell whether it was on the device" in text


def test_of_unequal_workers_nothing_is_simulated_nor_bounded(tmp_path: Path):
    dask = RecordedDask(Greedy(), bandwidth=8.0)
    dask.join(0, threads=1)
    dask.join(1, threads=8)
    dask.submit(gemm(3))
    dask.run()
    page, figures = made(closed(dask, tmp_path / "t"))
    assert figures["unequal"] == "workers of 1 and 8 threads"
    for name in ("bounds", "dask_alone", "simulated", "gate"):
        assert figures[name] is None
    assert figures["judged"] == 0
    assert [each["threads"] for each in figures["workers"]] == [1, 8]
    text = seen(page)
    assert "here were other ones: workers of 1 and 8 threads." in text
    assert "For the same reason no lower bound is told." in text
    for claim in ("can take less than", "would have taken 1", "The lower bound", "Lower bound"):
        assert claim not in text
    assert "lower bound" not in page.replace("no lower bound is told", "")
    assert "at least 100 bytes a worker" in text
    assert "not equal: workers of 1 and 8 threads" in text


def test_decisions_can_be_left_unjudged(trace: Path):
    page, figures = made(trace, "--decisions", 0)
    assert figures["judged"] == 0
    assert "none were judged" in seen(page)


def test_the_file_and_its_size_are_said_and_json_may_be_all_there_is(trace: Path, tmp_path: Path):
    out = tmp_path / "out.html"
    result = call("--trace", trace, "--out", out, "--decisions", 1)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{out}, ")
    assert "open it in a browser" in result.stdout
    result = call("--trace", trace, "--out", out, "--decisions", 1, "--json", "-")
    assert json.loads(result.stdout)["trace"] == trace.name


def one_line(*arguments: object) -> str:
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    # The bar of what was done before stands on lines of its own.
    line = result.stderr.strip().split("\n")[-1]
    assert line.startswith("Error: ")
    return line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--trace", "nowhere"], "--trace='nowhere' cannot be read (No such file"),
        (["--trace", "{trace}", "--model", "nowhere"], "--model: "),
        (["--trace", "{trace}", "--decisions", "-1"], "--decisions"),
        (["--trace", "{trace}", "--top", "0"], "--top"),
        (["--trace", "{trace}", "--out", "nowhere/x.html"], "'nowhere/x.html' cannot be written"),
        (["--trace", "{trace}", "--out", "-"], "'-' is no file; name the HTML file"),
        ([], "--trace"),
    ],
)
def test_mistakes_are_one_line(trace: Path, arguments: list[str], words: str):
    assert words in one_line(*(each.format(trace=trace) for each in arguments))


def test_what_is_no_trace_or_has_no_task_is_one_line(tmp_path: Path):
    file = tmp_path / "file"
    file.write_text("text")
    assert "--trace=" in one_line("--trace", file)
    closed(RecordedDask(), file)
    assert "no task of this trace has ended" in one_line(
        "--trace", file, "--out", tmp_path / "out.html"
    )
    assert not (tmp_path / "out.html").exists()


def test_a_page_is_there_as_a_whole_or_what_was_there_stays(trace: Path, tmp_path: Path):
    out = tmp_path / "out.html"
    out.write_text("before")
    with mock.patch("os.fsync", side_effect=OSError(28, "No space left on device")):
        line = one_line("--trace", trace, "--out", out, "--decisions", 0)
    assert "cannot be written (No space left on device); name another file" in line
    assert out.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.html", trace.name]


def test_it_explains_itself():
    result = call("--help")
    assert result.exit_code == 0
    assert "one HTML page, which needs nothing else" in " ".join(result.stdout.split())
