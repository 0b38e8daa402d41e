"""Why a task was run, held back or passed over, in words and numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from dask_mlsched.extension.in_words import (
    Rows,
    Shown,
    bytes_text,
    ordinal,
    seconds_text,
    short_key,
)

#: What a reason of a decision means.
REASONS: Final[Mapping[str, str]] = {
    "policy": "the policy chose it",
    "only choice": "nothing else was ready for that place",
    "fits": "all arrays fit in the fast tier, so that Dask's order decides",
    "no policy": "no policy is asked, so that Dask's order decides",
    "policy failed": "the policy failed this time, so that Dask's order decided",
    "nothing planned": "the policy planned nothing for any worker, so that Dask's order decided",
}

#: Why a task is left to Dask.
LEFT: Final[Mapping[str, str]] = {
    "restricted": "it has workers=, allow_other_workers= or resources= of its user's",
    "actor": "it is an actor",
    "p2p": "it belongs to a P2P shuffle or rechunk",
    "no run spec": "it is data, which nobody computes",
    "under way": "it was on a worker already when the plugin came",
}


class Explanation(Shown):
    """What `Handle.explain` returns: a dictionary whose text explains it.

    Its keys are `key`, `state`, and as far as there is something to say `managed`,
    `left_to_dask`, `waits_for`, `decision`, `parked`, `passed_over` and `similar`.
    """

    def lines(self) -> list[str]:
        """Say it in sentences."""
        name = short_key(self["key"])
        if self["state"] == "unknown" and "decision" not in self:
            return [f"{name} is not known here.", *_similar(self)]
        lines = []
        if "decision" in self:
            lines += _decision(name, self["decision"])
        if "parked" in self:
            lines += _parked(name, self["parked"])
        if "passed_over" in self:
            lines += _passed_over(self["passed_over"])
        if self.get("left_to_dask"):
            why = LEFT.get(self["left_to_dask"], self["left_to_dask"])
            lines.append(f"{name} is left to Dask: {why}.")
        if "waits_for" in self and not lines:
            lines.append(f"{name} waits for {self['waits_for']} of its inputs to be made.")
        if not lines:
            lines.append(f"{name} is {self['state']}; nothing was decided about it so far.")
        return lines

    def tables(self) -> list[tuple[Sequence[str], Rows]]:
        """Return what is missing on each worker, if it is parked."""
        parked = self.get("parked")
        if parked is None or not parked["inputs"]:
            return []
        rows = [
            [address, bytes_text(missing), str(max(0, parked["free_slots"][address]))]
            for address, missing in sorted(
                parked["missing_bytes"].items(), key=lambda item: (item[1], item[0])
            )
        ]
        return [(("worker", "missing there", "places free"), rows)]


def _similar(answer: Mapping[str, Any]) -> list[str]:
    names = answer.get("similar") or ()
    return [f"Did you mean {', '.join(names)}?"] if names else []


def _decision(name: str, decision: Mapping[str, Any]) -> list[str]:
    reason = REASONS.get(decision["reason"], decision["reason"])
    if decision["reason"] == "policy":
        count = decision["candidates"]
        reason = f"the policy {decision.get('policy') or ''}".rstrip() + (
            f" chose it among {count} ready tasks" if count > 1 else " chose it"
        )
    lines = [f"{name} was sent to {decision['worker']}: {reason}."]
    if decision["candidates"] > 1:
        place = decision["place_in_dask_order"]
        lines.append(
            "Dask's order had it first, too."
            if place == 0
            else f"In Dask's order it was the {ordinal(place + 1)} of them."
        )
    missing = decision["missing_bytes"]
    lines.append(
        f"{bytes_text(missing)} of what it reads were not on the device."
        if missing
        else "All that it reads was on the device."
    )
    if decision["held_seconds"]:
        lines.append(
            f"The place had been held for {seconds_text(decision['held_seconds'])} before."
        )
    if decision.get("model"):
        lines.append(f"What decided was the model {decision['model']}.")
    return lines


def _parked(name: str, parked: Mapping[str, Any]) -> list[str]:
    home = parked["home"]
    if home is not None:
        where = f"it is at home on {home}, which holds most of what it reads"
    elif parked["inputs"]:
        where = "the workers that hold what it reads take no tasks now"
    else:
        where = "it reads nothing, so that any worker may take it"
    if not parked["free_slots"]:
        why = "there is no worker"
    elif any(free > 0 for free in parked["free_slots"].values()):
        why = "a place is free, and is held or goes to another task"
    else:
        why = "no place is free"
    return [f"{name} is ready and parked; {where}.", f"It waits because {why}."]


def _passed_over(passed: Mapping[str, Any]) -> list[str]:
    times = "once" if passed["times"] == 1 else f"{passed['times']} times of late"
    on = f" on {passed['worker']}" if passed["worker"] else ""
    own, other = bytes_text(passed["missing_bytes"]), bytes_text(passed["missing_bytes_instead"])
    if passed["held"]:
        for_whom = f" for {short_key(passed['held_for'])}" if passed["held_for"] else ""
        instead = f"the place was held{for_whom}, which was to miss {other}"
    else:
        who = short_key(passed["instead"]) if passed["instead"] else "a task that is forgotten now"
        instead = f"{who} was taken, which missed {other}"
    last = "" if passed["times"] == 1 else "the last time, "
    return [f"It was passed over {times}{on}: {last}{instead}, while it missed {own} itself."]
