from __future__ import annotations

import subprocess
import sys

from dask_mlsched.core import features
from dask_mlsched.core.network import check
from dask_mlsched.learning.default_model import default_model, default_network
from learning.instances import factorization, product


def test_it_takes_the_features_of_this_version():
    check(default_network())
    assert default_model().names == features.NAMES
    assert default_model() is default_model()


def test_it_beats_dask_alone():
    for instance in (product(5, ratio=3.0), factorization(8)):
        assert instance.run(default_network()).makespan < 1


def test_torch_is_not_needed_to_load_it():
    code = (
        "import sys; from dask_mlsched.learning.default_model import default_network; "
        "default_network(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
