"""What training makes small: the cost that the network's choices are expected to have.

Of every decision the cost c of *each* action is known, its regret: 0 for the best one, in median
task times. With p, the softmax of the preferences f over the actions that are legal and labelled,
a decision has the loss::

    sum_a p_a c_a  +  0.3 sum_a (g_a - slog(c_a))**2  -  0.01 entropy(p)

Costs have heavy tails. The first sum weighs them as they are, because that is what runs pay, but
the probabilities bound its gradient; the second fits their logarithm. Early on, while the choices
are still all alike and that gradient is small, the first sum is replaced by a cross entropy in
which a decision weighs what choosing at random would cost.
"""

from __future__ import annotations

from typing import Final

import torch

#: Weights of the regret head and of the entropy.
REGRET_WEIGHT: Final = 0.3
ENTROPY_WEIGHT: Final = 0.01

#: In place of minus infinity, which gives NaN where a decision has no action left.
_NEVER: Final = -1e30


def slog(value: torch.Tensor) -> torch.Tensor:
    """Return the signed logarithm, sign(x) log(1 + abs(x)): about x near 0, and slow far out."""
    return torch.sign(value) * torch.log1p(torch.abs(value))


def usable(costs: torch.Tensor, legal: torch.Tensor) -> torch.Tensor:
    """Return [N, A] which actions count: those that are legal and have a label."""
    return legal & ~torch.isnan(costs)


def expected_cost(scores: torch.Tensor, costs: torch.Tensor, legal: torch.Tensor) -> torch.Tensor:
    """Return the loss of a batch: see the head of this module.

    Parameters
    ----------
    scores
        [N, A, 2] preference and g.
    costs
        [N, A] regrets in median task times, 0 or more; NaN where there is no label.
    legal
        [N, A] bool.

    Returns
    -------
    torch.Tensor
        [] the mean over decisions that have a label; 0 if none has.
    """
    mask, costs = _masked(costs, legal)
    log_p = _log_p(scores, mask)
    chosen = torch.where(mask, log_p.exp() * costs, 0.0).sum(-1)
    return _mean(chosen + _common(scores, costs, mask, log_p), mask)


def weighted_cross_entropy(
    scores: torch.Tensor, costs: torch.Tensor, legal: torch.Tensor
) -> torch.Tensor:
    """Return the loss for the first steps: minus the log of the probability of the best actions.

    A decision weighs the mean cost of its actions, so that those hardly count in which all actions
    are alike. Several best actions share the probability.

    Parameters and result are as for `expected_cost`.
    """
    mask, costs = _masked(costs, legal)
    log_p = _log_p(scores, mask)
    cheapest = torch.where(mask, costs, torch.inf).amin(-1, keepdim=True)
    best = mask & (costs <= cheapest)
    hit = torch.where(best, log_p, _NEVER).logsumexp(-1)
    # Measured from the cheapest, so that costs that are no regrets, such as seconds, do no harm.
    spread = torch.where(mask, costs - cheapest, 0.0).sum(-1) / mask.sum(-1).clamp(min=1)
    chosen = torch.where(mask.any(-1), -spread * hit, 0.0)
    return _mean(chosen + _common(scores, costs, mask, log_p), mask)


def _masked(costs: torch.Tensor, legal: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what counts, and costs without NaN: 0 times NaN would be NaN in every gradient."""
    mask = usable(costs, legal)
    return mask, torch.where(mask, costs, 0.0)


def _log_p(scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return torch.where(mask, scores[..., 0], _NEVER).log_softmax(-1)


def _common(
    scores: torch.Tensor, costs: torch.Tensor, mask: torch.Tensor, log_p: torch.Tensor
) -> torch.Tensor:
    """Return [N] the parts that both losses have: the fit of g, and minus the entropy."""
    miss = torch.where(mask, scores[..., 1] - slog(costs), 0.0).square().sum(-1)
    minus_entropy = torch.where(mask, log_p.exp() * log_p, 0.0).sum(-1)
    return REGRET_WEIGHT * miss + ENTROPY_WEIGHT * minus_entropy


def _mean(losses: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    counts = mask.any(-1)
    return torch.where(counts, losses, 0.0).sum() / counts.sum().clamp(min=1)
