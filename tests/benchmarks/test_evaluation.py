from __future__ import annotations

import numpy as np
import pytest

from dask_mlsched.benchmarks import evaluation
from dask_mlsched.benchmarks.evaluation import Evaluation, evaluate, without_hidden
from dask_mlsched.core.network import Network, hidden_of, shapes
from dask_mlsched.learning.processes import Processes
from learning.instances import NEAREST, few


@pytest.fixture(scope="module")
def found() -> Evaluation:
    return evaluate(NEAREST, Processes(few()), {"first": range(1), "others": range(1, 4)})


def test_a_model_and_its_parts_are_run_on_all_instances(found: Evaluation):
    instances = few()
    outcomes = [instance.run(NEAREST) for instance in instances]
    assert list(found.verdicts[evaluation.MODEL].outcomes) == outcomes
    assert list(found.verdicts[evaluation.LINEAR].outcomes) == outcomes
    assert found.verdicts[evaluation.NEVER_HOLD].holds == 0
    in_order = [instance.run(None) for instance in instances]
    assert list(found.verdicts[evaluation.ORDER].outcomes) == in_order
    assert list(found.verdict(evaluation.MODEL, "others").outcomes) == outcomes[1:]


def test_programs_get_ratios(found: Evaluation):
    document = evaluation.as_json(found)
    first = document["splits"]["first"]
    (instance,) = first["instances"]
    assert instance["instance"] == "gemm 4"
    assert instance["bytes_moved"] == pytest.approx(first["variants"]["model"]["bytes_moved"])
    assert instance["tasks"] == 96


def test_people_get_the_same_as_a_page_and_as_tables(found: Evaluation):
    page = evaluation.markdown(found)
    assert "### others: 3 instances" in page
    assert "| gemm 4 | 96 |" in page
    assert page.count("| never hold |") == 2
    assert "| gemm 4 |" not in evaluation.markdown(found, summary=True)
    assert len(evaluation.tables(found)) == 4


def test_without_hidden_units_the_linear_part_is_left():
    rng = np.random.default_rng(0)
    drawn = {
        name: rng.standard_normal(shape).astype(np.float32)
        for name, shape in shapes(3, (4, 4)).items()
    }
    network = Network(**drawn)
    alone = without_hidden(network)
    assert not alone.w3.any()
    assert alone.skip is network.skip
    assert hidden_of(alone) == (4, 4)
