"""What `Handle.status` returns: a dictionary that prints well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dask_mlsched.extension.in_words import Rows, Shown, bytes_text, seconds_text

_WORKERS = ("worker", "store", "limit", "resident", "loaded", "evicted", "copying", "running")


class Status(Shown):
    """The state of the plugin; the README and the documentation list its keys."""

    def lines(self) -> list[str]:
        """Say it in sentences."""
        managing = "managing" if self["managing"] else "not managing"
        state = f"mode {self['mode']}, policy {self['policy']}; {managing}"
        lines = [f"mlsched: {state}, {self['parked']:,} tasks parked.", *_decisions(self)]
        if self["unmanaged"]:
            left = ", ".join(f"{count:,} {reason}" for reason, count in self["unmanaged"].items())
            lines.append(f"Left to Dask: {left}.")
        if self["oversized"]:
            lines.append(
                f"Larger than the device with what they read: {self['oversized']:,} tasks; they "
                "run, but push their own inputs out. Use smaller chunks."
            )
        lines += _training(self.get("training"))
        return lines + _problems(self)

    def tables(self) -> list[tuple[Sequence[str], Rows]]:
        """Return a row for each worker."""
        rows = [
            [
                address,
                str(worker["kind"] or "unknown"),
                "none" if worker["limit"] is None else bytes_text(worker["limit"]),
                bytes_text(worker["resident_bytes"]),
                bytes_text(worker["bytes_loaded"]),
                bytes_text(worker["bytes_evicted"]),
                seconds_text(worker["load_seconds"] + worker["evict_seconds"]),
                str(worker["in_flight"]),
            ]
            for address, worker in self["workers"].items()
        ]
        return [(_WORKERS, rows)]


def _decisions(status: Mapping[str, Any]) -> list[str]:
    if not status["decisions"]:
        return ["Nothing was decided so far."]
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in status["reasons"].items())
    lines = [f"Decisions: {status['decisions']:,} ({reasons})."]
    seconds = status["decision_seconds"]
    if seconds["p50"] is not None:
        lines[-1] += (
            f" Half of them took less than {seconds_text(seconds['p50'])}, 99 of 100 less than "
            f"{seconds_text(seconds['p99'])}."
        )
    if status["holds"]:
        lines.append(f"Holds: {status['holds']:,}, {seconds_text(status['hold_seconds'])} in all.")
    return lines


def _training(training: Mapping[str, Any] | None) -> list[str]:
    if training is None:
        return []
    runs = training["runs"]
    collected = f"{runs['collected']} runs collected, {runs['rejected']} rejected"
    lines = [f"Training ({training['mode']}): {collected}, {training['decisions']:,} decisions."]
    choice = training.get("choice")
    if choice is not None:
        lines.append(f"The model at hand: {choice['model']}: {choice['why']}.")
    return lines


def _problems(status: Mapping[str, Any]) -> list[str]:
    """List what a user should look at."""
    lines = []
    if status["policy_failures"]:
        off = "; it is switched off" if status["policy_off"] else ""
        lines.append(
            f"Failures of the policy: {status['policy_failures']}{off}. "
            f"The last: {status['last_policy_failure']}."
        )
    if status["errors"]:
        lines.append(f"Errors of the plugin: {status['errors']}. The last: {status['last_error']}.")
    reports = status["reports"]
    if reports["lost"] or reports["malformed"] or reports["worker_errors"]:
        lines.append(
            f"Reports of workers: {reports['lost']} lost, {reports['malformed']} malformed, "
            f"{reports['worker_errors']} errors. The last problem: {reports['last_problem']}."
        )
    for name in ("trace", "specialising", "training", "dashboard"):
        part = status.get(name)
        if part and part.get("problems"):
            lines.append(
                f"Problems of {name}: {part['problems']}. The last: {part['last_problem']}."
            )
    return lines
