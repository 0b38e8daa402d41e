"""The scoring network as it is trained: the formula of `dask_mlsched.core.network`, in torch."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from dask_mlsched.core.network import CLIP, Floats, Network, check, hidden_of, shapes

#: Units of the two hidden layers.
HIDDEN = (32, 32)


class ScoringNetwork(nn.Module):
    """Preferences and expected regrets of actions; weights lie as they are served.

    The hidden layers are drawn at random, and everything after them is 0: a new network prefers
    nothing.

    Parameters
    ----------
    mean, scale
        [F] what features are standardised by; they are not trained.
    hidden
        Units of the two hidden layers; (0, 0) for a linear score.
    generator
        Draws the weights.
    """

    #: [F], [F]
    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self,
        mean: Floats,
        scale: Floats,
        hidden: tuple[int, int] = HIDDEN,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if (hidden[0] == 0) != (hidden[1] == 0) or min(hidden) < 0:
            msg = f"hidden is {hidden}; expected two numbers of units, or (0, 0) for a linear score"
            raise ValueError(msg)
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))
        sizes = shapes(len(mean), hidden)
        self.skip = nn.Parameter(torch.zeros(sizes["skip"]))
        self.w1 = nn.Parameter(_drawn(sizes["w1"], generator))
        self.b1 = nn.Parameter(torch.zeros(sizes["b1"]))
        self.w2 = nn.Parameter(_drawn(sizes["w2"], generator))
        self.b2 = nn.Parameter(torch.zeros(sizes["b2"]))
        # The layers below are not zero, so these are pulled off it by the first step.
        self.w3 = nn.Parameter(torch.zeros(sizes["w3"]))
        self.b3 = nn.Parameter(torch.zeros(sizes["b3"]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Score actions.

        Parameters
        ----------
        x
            [..., F] features.

        Returns
        -------
        torch.Tensor
            [..., 2] preference and g.
        """
        z = torch.clamp((x - self.mean) / self.scale, -CLIP, CLIP)
        h = torch.relu(torch.relu(z @ self.w1 + self.b1) @ self.w2 + self.b2)
        heads = h @ self.w3 + self.b3
        return torch.stack([heads[..., 0] + z @ self.skip, heads[..., 1]], dim=-1)

    def export(self) -> Network:
        """Return the weights as they are served.

        Raises
        ------
        dask_mlsched.core.network.InvalidNetworkError
            If a weight is not finite: the fit did not converge.
        """
        state = self.state_dict()
        network = Network(*(_exported(state[name]) for name in Network._fields))
        check(network)
        return network

    @classmethod
    def from_network(
        cls,
        network: Network,
        hidden: tuple[int, int] | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> ScoringNetwork:
        """Go on from a network that there is.

        Parameters
        ----------
        network
            As `check` accepts it.
        hidden
            Units to add to a linear score: they contribute nothing at first. By default, and for a
            network that has hidden units, those that it has.
        generator
            Draws the weights that are added.

        Raises
        ------
        ValueError
            If `hidden` is not what a network with hidden units has.
        """
        check(network)
        found = hidden_of(network)
        if hidden is None:
            hidden = found
        if found not in ((0, 0), hidden):
            msg = (
                f"the network has hidden layers of {found} units, not {hidden}; "
                "start from a linear score, or keep its sizes"
            )
            raise ValueError(msg)
        made = cls(network.mean, network.scale, hidden, generator=generator)
        with torch.no_grad():
            for name, array in network._asdict().items():
                target = getattr(made, name)
                if target.shape == array.shape:
                    target.copy_(torch.from_numpy(array.copy()))
        return made


def _drawn(shape: tuple[int, ...], generator: torch.Generator | None) -> torch.Tensor:
    """Draw weights for units that are cut off at 0 (He et al. 2015, section 2.2)."""
    deviation = float(np.sqrt(2 / max(shape[0], 1)))
    return torch.randn(shape, generator=generator) * deviation


def _exported(tensor: torch.Tensor) -> Floats:
    return np.ascontiguousarray(tensor.detach().cpu().numpy(), np.float32).copy()
