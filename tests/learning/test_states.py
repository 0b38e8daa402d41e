from __future__ import annotations

import numpy as np

from dask_mlsched.core import features
from dask_mlsched.core.network import Network, shapes
from dask_mlsched.learning import states
from learning.instances import NEAREST, product


def test_rows_are_those_of_the_actions_of_some_decisions():
    rows = states.visited(product(), NEAREST)
    assert rows.shape[1] == features.COUNT
    assert len(rows) > 40
    missing = rows[:, features.NAMES.index("missing")]
    assert 0 <= missing.min() < missing.max() <= 1


def test_features_that_never_differ_are_not_scaled():
    mean, scale = states.standard(np.array([[1, 5], [3, 5]], np.float32))
    assert mean.tolist() == [2, 5]
    assert scale.tolist() == [1, 1]


def test_hidden_units_are_measured_as_the_network_makes_them():
    rng = np.random.default_rng(0)
    drawn = {
        name: rng.standard_normal(shape).astype(np.float32)
        for name, shape in shapes(3, (4, 2)).items()
    }
    network = Network(**drawn)._replace(mean=np.zeros(3, "f4"), scale=np.ones(3, "f4"))
    network.w2[:, 1] = 0.0
    rows = rng.standard_normal((50, 3)).astype(np.float32)
    deviation = states.hidden_deviation(network, rows)
    first = np.maximum(rows @ network.w1 + network.b1, 0)
    second = np.maximum(first @ network.w2[:, 0] + network.b2[0], 0)
    np.testing.assert_allclose(deviation, [second.std(), 1.0], rtol=1e-4)
