"""What torch computes on."""

from __future__ import annotations

import torch


def has_cuda() -> bool:
    """Tell whether torch finds a GPU."""
    return torch.cuda.is_available()


def use_one_thread() -> None:
    """Let torch compute on one thread, so that sums are the same on every machine.

    More threads would not be faster on networks of this size.
    """
    torch.set_num_threads(1)
