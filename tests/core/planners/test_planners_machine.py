"""The controller under planners that take turns: none leaves anything behind for the next."""

from __future__ import annotations

import itertools
import random

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from core import test_controller_machine as machine
from core.graphs import Drawn, gemm
from dask_mlsched.core import features
from dask_mlsched.core.network import linear
from dask_mlsched.core.planners.learned import Learned
from dask_mlsched.core.policies import PLANNERS

PRODUCT_PLANNERS = ["active-set", "k-constraint"]


class PlannersMachine(machine.ControllerMachine):
    @rule(name=st.sampled_from(["stock", "greedy-hold", *PLANNERS]))
    def policy_changes(self, name: str) -> None:
        self.dask.controller.chooser.set_policy(machine.POLICIES[name](random.Random(0)))


class ProductsMachine(machine.ControllerMachine):
    """Graphs are block products, for planners that are made for these."""

    @rule(name=st.sampled_from(PRODUCT_PLANNERS))
    def policy_changes(self, name: str) -> None:
        self.dask.controller.chooser.set_policy(machine.POLICIES[name](random.Random(0)))

    def submit(self, tasks: list[machine.DrawnTask], user: int) -> None:
        if not self.graphs:
            self.policy_changes(PRODUCT_PLANNERS[len(tasks) % 2])
        self.graphs += 1
        product = gemm(2)
        name = f"{self.graphs}-"
        drawn = Drawn(
            {
                key[0] + name + key[2:]: [dep[0] + name + dep[2:] for dep in dependencies]
                for key, dependencies in product.dependencies.items()
            }
        )
        for (key, _), task in zip(drawn.dependencies.items(), itertools.cycle(tasks), strict=False):
            drawn.nbytes[key] = task.nbytes
        self.dask.submit(drawn, priority=user)


class LearnedMachine(machine.ControllerMachine):
    """A network decides, and its tables follow all that can happen."""

    @rule(seed=st.integers(0, 9))
    def policy_changes(self, seed: int) -> None:
        weights = np.random.default_rng(seed).standard_normal(features.COUNT)
        self.dask.controller.chooser.set_policy(Learned(linear(weights)))


TestLearnedMachine = LearnedMachine.TestCase
TestLearnedMachine.settings = settings(machine.TestControllerMachine.settings, max_examples=100)

TestPlannersMachine = PlannersMachine.TestCase
TestPlannersMachine.settings = settings(machine.TestControllerMachine.settings, max_examples=50)

TestProductsMachine = ProductsMachine.TestCase
TestProductsMachine.settings = settings(machine.TestControllerMachine.settings, max_examples=50)
