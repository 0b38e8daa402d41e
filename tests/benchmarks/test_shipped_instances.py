"""The instances that every new network is held against, and the process as schedulers start it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dask_mlsched.benchmarks.shipped_instances import FAMILIES, RATIOS, first_of_each, ship
from dask_mlsched.core.graph_message import READY
from dask_mlsched.core.message_frame import Frame, encode, read
from dask_mlsched.core.model_choice import CATALOGUE
from dask_mlsched.core.training_message import Look
from dask_mlsched.extension.online_training import COMMAND


def test_each_family_is_there_and_no_training_knows_what_is_judged_on() -> None:
    judged, searched = first_of_each("test", 1), first_of_each("train", 2)
    assert tuple(case.workload for case in judged) == FAMILIES
    assert sorted({case.workload for case in searched}) == sorted(FAMILIES)
    assert len(searched) == 2 * len(FAMILIES)
    assert not {case.seed for case in judged} & {case.seed for case in searched}


@pytest.mark.slow
def test_all_of_them_can_be_made_without_optional_packages() -> None:
    made = ship()
    assert [each.family for each in made.judged] == [f for f in FAMILIES for _ in RATIOS]
    assert len(made.searched) == 2 * len(FAMILIES)
    assert all(len(each.dag) <= 2_500 for each in (*made.judged, *made.searched))


def test_the_command_of_the_scheduler_starts_it(tmp_path: Path) -> None:
    assert COMMAND[0] == sys.executable
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        asked = Look(str(tmp_path), False, capacity=5, update_after=1, seconds=1.0, thresholds={})
        process.stdin.write(encode(asked.frame()))
        process.stdin.flush()
        frames = [read(process.stdout.read) for _ in range(2)]
        process.stdin.close()
        assert process.wait(timeout=60) == 0
    assert [frame.kind for frame in frames if isinstance(frame, Frame)] == [READY, CATALOGUE]


def test_torch_is_not_loaded_to_collect() -> None:
    code = "import sys, dask_mlsched.benchmarks.online_trainer; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
