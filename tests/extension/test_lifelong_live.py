"""A life with models on a real cluster: families, their models, bad champions, as users see them.

Programs are small, and their arrays do not fit on the device. Runs are told to be over by what the
status says, not by the clock.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import pytest
from click.testing import CliRunner
from dask import delayed
from distributed import Client

import dask_mlsched
from dask_mlsched.cli import mlsched
from dask_mlsched.core.model_choice import BASELINE
from dask_mlsched.core.training_message import LIBRARY
from dask_mlsched.extension import online_training
from dask_mlsched.extension.model_events import TOPIC
from dask_mlsched.learning.library import Library
from dask_mlsched.learning.shipped import Shipped
from learning.instances import factorization, product, scored_by
from learning_process import command
from live_scheduler import device_cluster
from sample_tasks import added, chunk, total

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(400)]

#: Seconds for what a process does at the lowest priority of a busy machine.
PATIENCE = 60.0

#: The model that ships.
FIRST = "generalist/v0001"

#: Runs on a busy machine differ more than models do: only what is clearly bad counts.
LENIENT = {"loss-budget": 100.0, "slower": 100.0, "held-share": 1.0}

SIDE = 8


def pairs(client: Client) -> float:
    """Read each of some arrays together with each of others; a good order loads each once."""
    rows, columns = ([made(number) for number in range(SIDE)] for _ in range(2))
    sums = [delayed(total)(x, y) for x in rows for y in columns]
    return float(client.compute(delayed(sum)(sums)).result())


PAIRS_TOTAL = 12_500.0 * 2 * SIDE * sum(range(SIDE))


def leaves_by_twos(client: Client) -> float:
    """Add arrays up by twos; a good order has few of them at a time."""
    level = [made(number) for number in range(LEAVES)]
    while len(level) > 1:
        level = [delayed(added)(x, y) for x, y in zip(level[::2], level[1::2], strict=True)]
    return float(client.compute(delayed(total)(level[0])).result())


LEAVES = 64
LEAVES_TOTAL = 12_500.0 * sum(range(LEAVES))


def made(number: int) -> Any:
    return delayed(chunk, pure=False)(100, float(number))


def over(told: dict[str, Any]) -> int:
    """Count the runs that were taken in."""
    return int(told["runs"]["collected"] + told["runs"]["rejected"])


def number(told: dict[str, Any]) -> int:
    """Return the number of the catalogue."""
    return int(told["catalogue"]["number"]) if told["catalogue"] else 0


class User:
    """Runs programs and looks at the status between them."""

    def __init__(self, client: Client, handle: Any, folder: Path) -> None:
        self.client = client
        self.handle = handle
        self.folder = folder

    @property
    def told(self) -> dict[str, Any]:
        training: dict[str, Any] = self.handle.status()["training"]
        return training

    @property
    def events(self) -> list[dict[str, Any]]:
        return [message for _, message in self.client.get_events(TOPIC)]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self.events if each["event"] == kind]

    def until(self, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Wait for a status."""
        deadline = time.monotonic() + PATIENCE
        while not condition(training := self.told):
            assert time.monotonic() < deadline, f"{training} {self.events}"
            time.sleep(0.1)
        return training

    def run(self, program: Callable[[Client], float]) -> dict[str, Any]:
        """Run a program; return the choice for it when what it says can be chosen by."""
        before = self.told
        value = program(self.client)
        assert value == (PAIRS_TOTAL if program is pairs else LEAVES_TOTAL)
        choice = self.told["choice"]
        last = before["catalogue"]["number"] if before["catalogue"] else 0
        self.until(
            lambda told: (
                over(told) > over(before)
                and told["catalogue"]
                and told["catalogue"]["number"] > last
            )
        )
        return choice or {}

    def sent_back(self, model: str) -> list[str]:
        """List the families that were sent back because of a model."""
        return [each["family"] for each in self.of("sent back") if each["model"] == model]

    def cli(self, *arguments: object) -> str:
        result = CliRunner().invoke(mlsched, [*map(str, arguments)], color=False)
        assert result.exit_code == 0, result.output
        return result.stdout


@contextmanager
def user(folder: Path, **settings: Any) -> Iterator[User]:
    """Start a cluster whose device has room for ten of the arrays, and learn."""
    slow = {"device_memory_limit": "1MB", "bandwidth": "10MB/s"}
    with device_cluster(1, **slow) as cluster, Client(cluster) as client:
        handle = dask_mlsched.install(
            client,
            training_directory=str(folder),
            **{
                "training": "background",
                "training_capacity": 2_000,
                "training_update_after": 100_000,
                "training_seconds": "3s",
                **settings,
            },
        )
        yield User(client, handle, folder)
        told = handle.status()["training"]
        handle.uninstall()
    assert told["problems"] == 0, told["last_problem"]


@contextmanager
def thresholds(**values: float) -> Iterator[None]:
    with dask.config.set({f"mlsched.models.{name}": each for name, each in values.items()}):
        yield


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Have another process learn than the real one, see `learning_process`."""

    def use(how: str) -> None:
        monkeypatch.setattr(online_training, "COMMAND", command(how))

    return use


def test_as_users_have_it(tmp_path: Path) -> None:
    with user(tmp_path) as me:
        assert me.told["catalogue"] is None
        me.run(pairs)
        told = me.until(lambda told: told["catalogue"] and told["catalogue"]["families"])
        (family,) = told["catalogue"]["families"]
        choice = me.run(pairs)
        # By now there is a choice, with its reasons.
        assert choice["family"] == family
        assert choice["similarity"] > 0.99
        assert family in choice["why"]
        assert choice["model"] in [each["model"] for each in choice["considered"]]
        assert me.of("chosen")[-1]["model"] == choice["model"]
        assert [each["family"] for each in me.of("new family")] == [family]
        me.run(leaves_by_twos)
        told = me.until(lambda told: len(told["catalogue"]["families"]) == 2)
        assert family in told["catalogue"]["families"]
        assert "champion: generalist/" in me.cli("training", tmp_path)
        assert family in me.cli("models", "log", tmp_path)
        assert FIRST in me.cli("models", "list", tmp_path)


def test_a_family_s_model_is_made_and_chosen_in_a_later_run(
    tmp_path: Path, process: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dask_mlsched")
    process("nearest")
    with thresholds(**LENIENT, **{"bad-run": 100.0}), user(tmp_path) as me:
        me.run(pairs)
        told = me.until(lambda told: told["events"].get("split"))
        (made,) = me.of("split")
        family, model = made["family"], made["model"]
        assert model == f"{family}/v0001"
        me.until(lambda told: model in told["catalogue"]["models"])
        for _ in range(12):  # it is drawn for
            if (choice := me.run(pairs))["model"].startswith(f"{family}/"):
                break
        assert choice["model"].startswith(f"{family}/"), me.events
        assert choice["family"] == family
        told = me.told
        assert told["choices"][choice["model"]] >= 1
        log = me.cli("models", "log", tmp_path)
        assert model in log
        assert family in me.cli("models", "show", tmp_path, model)
    assert f"mlsched: split: {model}, family {family}: " in caplog.text
    assert f"mlsched: chosen: {choice['model']}, family {family}: " in caplog.text


def a_bad_champion(me: User, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a champion by force that makes all it can, and then runs what misses most."""
    shipped = Shipped([factorization(6)], [factorization(5), product(4)])
    monkeypatch.setattr("dask_mlsched.benchmarks.shipped_instances.ship", lambda: shipped)
    ref = Library.open(me.folder / LIBRARY).add(
        "generalist", scored_by(root=9.0, missing=1.0), made_by="hand", reason="on purpose"
    )
    because = ["--reason", "to see what comes of it"]
    told = me.cli("models", "promote", me.folder, ref, *because, "--force")
    assert told.startswith(f"promoted: {ref}: to see what comes of it\n")
    return str(ref)


def test_a_bad_champion_costs_each_family_one_run_and_goes_back_after_two(
    tmp_path: Path,
    process: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "dask_mlsched")
    process("trusting")
    with thresholds(**LENIENT), user(tmp_path) as me:
        me.run(pairs)
        me.run(leaves_by_twos)
        told = me.until(lambda told: len(told["catalogue"]["families"]) == 2)
        assert told["catalogue"]["champion"] == FIRST
        bad = a_bad_champion(me, monkeypatch)
        me.run(pairs)
        me.until(lambda told: told["catalogue"]["champion"] == bad)
        for program in (pairs, leaves_by_twos):
            for _ in range(6):  # the one before may have had its family sent back, too
                if (choice := me.run(program))["model"] == bad:
                    break
            family = choice["family"]
            assert me.sent_back(bad)[-1] == family
            choice = me.run(program)
            assert (choice["model"], choice["family"]) == (BASELINE, family)
            assert "left to Dask alone" in choice["why"]
        me.until(lambda told: told["catalogue"]["champion"] == FIRST)
        (back,) = me.of("rolled back")
        assert back["model"] == bad
        assert sum(each["model"] == bad for each in me.of("chosen")) == 2
        assert "rolled back" in me.cli("models", "log", tmp_path)
    assert f"mlsched: sent back: {bad}, family {family}: " in caplog.text
    assert f"mlsched: rolled back: {bad}: bad runs of " in caplog.text


def test_a_bad_champion_that_simulations_see_through_is_never_asked(
    tmp_path: Path, process: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    process("bad")
    with thresholds(**LENIENT), user(tmp_path) as me:
        me.run(pairs)
        me.until(lambda told: told["catalogue"] and told["catalogue"]["families"])
        bad = a_bad_champion(me, monkeypatch)
        for _ in range(3):
            assert me.run(pairs)["model"] != bad
        assert bad not in me.told["choices"]


def test_with_collect_families_and_runs_are_recorded_and_no_model_is_made(
    tmp_path: Path, process: Callable[[str], None]
) -> None:
    process("nearest")
    collecting: dict[str, Any] = {"training": "collect", "training_update_after": 1}
    # A family is protected then, too.
    with thresholds(**LENIENT, **{"bad-run": 100.0}), user(tmp_path, **collecting) as me:
        for _ in range(2):
            me.run(pairs)
        told = me.until(lambda told: told["runs"]["collected"] == 2)
        (family,) = told["catalogue"]["families"]
        assert told["mode"] == "collect"
        assert told["decisions"] > 0
        assert list(told["catalogue"]["models"]) == [FIRST]
        assert set(told["events"]) == {"new family"}
    library = Library.reading(tmp_path / LIBRARY)
    assert [each.ref for each in library.survey()] == [FIRST]
    runs = [each for each in library.events() if each.kind == "collected"]
    assert [each.fields["family"] for each in runs] == [family, family]
