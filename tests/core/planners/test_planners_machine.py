"""The controller under planners that take turns: none leaves anything behind for the next."""

from __future__ import annotations

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from core import test_controller_machine as machine
from dask_mlsched.core.policies import PLANNERS


class PlannersMachine(machine.ControllerMachine):
    @rule(name=st.sampled_from(["stock", "greedy-hold", *PLANNERS]))
    def policy_changes(self, name: str) -> None:
        self.dask.controller.chooser.set_policy(machine.POLICIES[name](random.Random(0)))


TestPlannersMachine = PlannersMachine.TestCase
TestPlannersMachine.settings = settings(machine.TestControllerMachine.settings, max_examples=50)
