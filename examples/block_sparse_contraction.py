"""A block-sparse tensor contraction, the costliest step of coupled-cluster methods in chemistry.

R[i, j, a, b] = sum over c and d of T[i, j, c, d] · V[c, d, a, b], where each index runs over blocks
of orbitals that lie along a line. A block of T or V is there only if the orbitals that it couples
are near each other, so many are missing. Each block of R is summed up block by block, as a chain
of tasks made with ``dask.delayed``; its norm is what is left of it. The blocks of T and V take
three times the memory of the emulated device.
Run it: python examples/block_sparse_contraction.py
"""

import time
from itertools import product

import numpy as np
from dask.delayed import Delayed, delayed
from dask.distributed import Client

import dask_mlsched

BLOCKS = 4  # of every index
SIZE = 12  # of every block along every index: a block has 166 kB

Place = tuple[int, int, int, int]


def make_block(seed: tuple[int, ...]) -> np.ndarray:
    """Make one block of a tensor; a real program would compute or read it."""
    return np.random.default_rng(seed).standard_normal((SIZE,) * 4)


def contract(t: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Contract two blocks over the last two indices of one and the first two of the other."""
    return np.tensordot(t, v, axes=2)


def contract_add(r: np.ndarray, t: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Add such a contraction to what a block of R has come to so far."""
    return r + np.tensordot(t, v, axes=2)


def norm(r: np.ndarray) -> float:
    """Reduce a block of R to one number."""
    return float(np.linalg.norm(r))


def coupled_places(seed: int) -> list[Place]:
    """Draw which blocks of a tensor are there: the further apart, the fewer."""
    rng = np.random.default_rng(seed)
    places = product(range(BLOCKS), repeat=4)
    return [
        (i, j, c, d) for i, j, c, d in places if rng.random() < 0.7 ** (abs(i - c) + abs(j - d))
    ]


def contraction() -> list[Delayed]:
    """Describe the contraction; return the norms of the blocks of R."""
    t, v = (
        {place: delayed(make_block, pure=True)((seed, *place)) for place in coupled_places(seed)}
        for seed in (0, 1)
    )
    r: dict[Place, Delayed] = {}
    for (i, j, c, d), left in t.items():
        for a, b in product(range(BLOCKS), repeat=2):
            if (right := v.get((c, d, a, b))) is None:
                continue
            place = (i, j, a, b)
            if place in r:
                r[place] = delayed(contract_add, pure=True)(r[place], left, right)
            else:
                r[place] = delayed(contract, pure=True)(left, right)
    return [delayed(norm, pure=True)(block) for block in r.values()]


def run(mode: str) -> tuple[list[float], int, float]:
    """Contract on a fresh cluster; return all norms, the bytes that moved, and the seconds."""
    with (
        dask_mlsched.LocalDeviceCluster(
            device_memory_limit="11MB", bandwidth="100MB/s", dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        handle = dask_mlsched.install(client, mode=mode)
        start = time.perf_counter()
        norms = client.gather(client.compute(contraction()))
        seconds = time.perf_counter() - start
        workers = handle.status()["workers"].values()
    moved = sum(worker["bytes_loaded"] + worker["bytes_evicted"] for worker in workers)
    return norms, moved, seconds


def main() -> None:
    """Contract under Dask alone and under the extension."""
    alone, moved_alone, seconds_alone = run("observe")
    norms, moved, seconds = run("manage")
    blocks = len(coupled_places(0)) + len(coupled_places(1))
    print(f"{blocks} of {2 * BLOCKS**4} blocks of T and V are there, and {len(norms)} of R")
    print(f"results equal: {norms == alone}")
    print(f"Dask alone: {moved_alone / 1e6:6.1f} MB moved in {seconds_alone:.1f} s")
    print(f"managed:    {moved / 1e6:6.1f} MB moved in {seconds:.1f} s")


if __name__ == "__main__":
    main()
