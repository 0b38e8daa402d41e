from __future__ import annotations

from pathlib import Path

import pytest

from dask_mlsched.benchmarks import device_bench
from dask_mlsched.benchmarks.clusters import STORES
from dask_mlsched.benchmarks.contender import Contender
from dask_mlsched.benchmarks.device_arrays import MissingDeviceError
from dask_mlsched.benchmarks.device_bench import CASES, CONTENDERS, QUICK_CASES, measure
from dask_mlsched.benchmarks.device_report import check_document
from fake_runs import a_comparison, an_arm
from local_run import compute


@pytest.mark.parametrize("name", QUICK_CASES)
def test_quick_cases_have_right_results(name, tmp_path: Path):
    problem = QUICK_CASES[name].build(tmp_path, 0)
    assert problem.check(compute(problem))


def test_each_quick_case_stands_for_full_ones():
    kinds = {name.partition("-")[0] for name in QUICK_CASES}
    assert kinds == {name.partition("-")[0] for name in CASES}


def test_contenders_are_on_stores_that_there_are():
    assert {contender.store for contender in CONTENDERS} <= set(STORES)
    assert CONTENDERS[0].policy == "stock"


def test_a_part_has_the_limit_of_its_ratio_and_is_one_document(monkeypatch, tmp_path: Path):
    asked = []

    def compare(problem, conditions, contenders, repeats, on_step):
        asked.append((problem.working_set / conditions.device_memory_limit, repeats))
        return a_comparison(*(an_arm(str(each)) for each in contenders))

    monkeypatch.setattr(device_bench, "compare", compare)
    case = QUICK_CASES["gemm-64-float32"]
    document = measure(case, 2.0, [Contender("stock")], repeats=4, directory=tmp_path)
    assert asked == [(pytest.approx(2.0, rel=1e-3), 4)]
    assert check_document(document, "it") is document
    assert (document["case"], document["ratio"]) == ("gemm-64-float32", 2.0)
    assert document["copies"] is None
    assert document["device"]["name"] == "emulated"
    assert {"python", "dask", "distributed"} <= set(document["packages"])


def test_without_a_gpu_nothing_is_run(monkeypatch, tmp_path: Path):
    def require_device(library: str) -> None:
        raise MissingDeviceError(library)

    monkeypatch.setattr("dask_mlsched.benchmarks.clusters.require_device", require_device)
    monkeypatch.setattr(device_bench, "compare", None)
    with pytest.raises(MissingDeviceError, match="cupy"):
        measure(
            QUICK_CASES["csr-128"],
            2.0,
            [Contender("stock", "cuda")],
            repeats=1,
            directory=tmp_path,
        )
