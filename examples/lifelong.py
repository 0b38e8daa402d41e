"""A stream of programs for which models are chosen, split off, merged and sent back; simulated.

Six families of programs come in random order, then one that was never seen, then one whose sizes
drift. It prints what serves each run and what happens to models, and draws ``lifelong.png``. Run
it: python examples/lifelong.py (a few minutes; --quick for half a minute, --help for the rest).
"""

import os

# The matrices of a search are so small that a second thread only gets in the way. It has to be said
# before NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from dask_mlsched.benchmarks.lifelong_command import main

if __name__ == "__main__":
    main()
