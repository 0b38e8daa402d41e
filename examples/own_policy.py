"""A policy of one's own in twenty lines, beside the one that ships and Dask alone.

A policy gives every task that could run in a free place a score, and the highest wins. This one
takes the task of whose memory the largest share is on the device already. Everything else
(priorities, holds, what is evicted, what happens if the policy fails) is the extension's.

It is named by its dotted path, which the scheduler imports. Here the scheduler runs in this very
process, which finds ``own_policy`` beside the program that was started; for a scheduler elsewhere
the module has to be installed there.
Run it: python examples/own_policy.py
"""

import time
from collections.abc import Sequence

import dask.array as da
from dask.distributed import Client

import dask_mlsched
from dask_mlsched.core.policies import Candidate, Situation, View


class ReadsMost:
    """The task of whose memory the largest share is on the device already."""

    name = "reads-most"
    view: View = "nearest"  # to choose from the ready tasks that miss the fewest bytes,
    shortlist = 16  # so many of them

    def score(self, situation: Situation) -> Sequence[float]:
        """Score all candidates, and HOLD, the empty place, where it is offered."""
        scores = [self.share(candidate) for candidate in situation.candidates]
        if situation.hold is not None:
            scores.append(-1.0)  # never wait
        return scores

    def share(self, candidate: Candidate) -> float:
        """Return the share of the bytes it needs, its output included, that are there."""
        needed = candidate.missing_bytes + candidate.resident_bytes + candidate.output_bytes
        return candidate.resident_bytes / max(needed, 1)


def program() -> da.Array:
    """Describe a product of two matrices and the largest entry in each row."""
    x, y = (da.random.default_rng(n).random((2000, 2000), chunks=250) for n in range(2))
    return (x @ y).max(axis=1)


def run(mode: str, policy: str) -> tuple[float, int, float]:
    """Run it on a fresh cluster; return the sum of the result, the bytes moved, and the seconds."""
    with (
        dask_mlsched.LocalDeviceCluster(
            device_memory_limit="12MB", bandwidth="200MB/s", dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        handle = dask_mlsched.install(client, mode=mode, policy=policy)
        start = time.perf_counter()
        found = program().compute()
        seconds = time.perf_counter() - start
        status = handle.status()
    assert status["policy_failures"] == 0
    workers = status["workers"].values()
    moved = sum(worker["bytes_loaded"] + worker["bytes_evicted"] for worker in workers)
    return float(found.sum()), moved, seconds


def main() -> None:
    """Compare the policy with Dask alone and with the network that ships."""
    results = set()
    for label, mode, policy in (
        ("Dask alone", "observe", "stock"),
        ("reads-most", "manage", "own_policy.ReadsMost"),
        ("learned", "manage", "learned"),
    ):
        found, moved, seconds = run(mode, policy)
        results.add(found)
        print(f"{label:10}: {moved / 1e6:6.1f} MB moved in {seconds:.1f} s")
    print(f"results equal: {len(results) == 1}")


if __name__ == "__main__":
    main()
