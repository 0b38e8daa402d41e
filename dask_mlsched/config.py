"""The only reader of Dask's configuration: everything under `mlsched:`, checked and typed."""

from __future__ import annotations

import functools
import importlib.resources
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

import dask.config
import jsonschema
import yaml
from dask.utils import parse_bytes, parse_timedelta

from dask_mlsched.core import policies
from dask_mlsched.core.thresholds import Thresholds

Mode: TypeAlias = Literal["off", "observe", "manage"]
Scope: TypeAlias = Literal["tiered", "all"]
TraceMode: TypeAlias = Literal["off", "memory"]
Training: TypeAlias = Literal["off", "collect", "background"]

#: A recording needs this much to say what it is of, and that it is full.
_SMALLEST_TRACE = 10_000

#: Keyword of `Config.read` -> key under `mlsched.` in Dask's configuration.
_KEYS = {
    "mode": "mode",
    "policy": "policy",
    "eviction": "eviction",
    "scope": "scope",
    "lookahead": "lookahead",
    "load_ahead": "load-ahead",
    "shortlist": "shortlist",
    "seed": "seed",
    "bandwidth": "bandwidth",
    "round_trip": "round-trip",
    "hold_limit": "hold.limit",
    "time_budget": "policy-limits.time-budget",
    "failures": "policy-limits.failures",
    "specialise": "specialise.enabled",
    "seconds_per_thousand_tasks": "specialise.seconds-per-thousand-tasks",
    "least_seconds": "specialise.least-seconds",
    "most_seconds": "specialise.most-seconds",
    "check_interval": "check-interval",
    "snapshot_interval": "snapshot-interval",
    "explain_length": "explain-length",
    "dashboard": "dashboard.enabled",
    "dashboard_interval": "dashboard.interval",
    "trace": "trace",
    "trace_directory": "trace-directory",
    "trace_limit": "trace-limit",
    "training": "training.mode",
    "training_directory": "training.directory",
    "training_capacity": "training.capacity",
    "training_update_after": "training.update-after",
    "training_seconds": "training.seconds",
    "models": "models",
}


class ConfigError(ValueError):
    """A setting that cannot be used: one line with the value, what was expected, and the cure."""


@functools.cache
def _load(name: str) -> dict[str, Any]:
    text = importlib.resources.files("dask_mlsched").joinpath(name).read_text()
    return cast("dict[str, Any]", yaml.safe_load(text))


def _lookup(tree: dict[str, Any], key: str) -> Any:
    value: Any = tree
    for part in key.split("."):
        value = value[part]
    return value


@dataclass(frozen=True, slots=True)
class Config:
    """All settings, in seconds, bytes and bytes per second."""

    mode: Mode
    policy: str
    eviction: str
    scope: Scope
    lookahead: int
    load_ahead: bool
    shortlist: int
    seed: int
    bandwidth: float
    round_trip: float
    hold_limit: float
    time_budget: float
    failures: int
    specialise: bool
    seconds_per_thousand_tasks: float
    least_seconds: float
    most_seconds: float
    check_interval: float
    snapshot_interval: float
    explain_length: int
    dashboard: bool
    dashboard_interval: float
    trace: TraceMode
    trace_directory: str | None
    trace_limit: int
    training: Training
    training_directory: str | None
    training_capacity: int
    training_update_after: int
    training_seconds: float
    models: Thresholds

    @classmethod
    def read(cls, **overrides: Any) -> Config:
        """Read Dask's configuration; a keyword takes the place of its setting.

        Raises
        ------
        ConfigError
            If a keyword is unknown, a value cannot be used, or another one is missing for it.
        """
        check_overrides(**overrides)
        defaults = _load("mlsched.yaml")["mlsched"]
        values = {}
        for name, key in _KEYS.items():
            # The default is handed over each time: others may have emptied the configuration
            # since we were imported, as distributed's test tools do.
            default = _lookup(defaults, key)
            configured = dask.config.get(f"mlsched.{key}", default=default)
            values[name] = checked(name, overrides.get(name, configured))
        config = cls(**values)
        if config.training != "off" and config.training_directory is None:
            msg = (
                f"mlsched.training.mode is {config.training!r} and mlsched.training.directory is "
                "None; expected a directory on the scheduler's machine: "
                "dask_mlsched.install(client, training=…, training_directory=…)"
            )
            raise ConfigError(msg)
        return config


def check_overrides(**overrides: Any) -> None:
    """Check keywords for `Config.read` without reading anything.

    Raises
    ------
    ConfigError
        If a keyword is unknown or a value cannot be used.
    """
    for name, value in overrides.items():
        if name not in _KEYS:
            msg = f"unknown setting {name!r}; expected one of {', '.join(_KEYS)}"
            raise ConfigError(msg)
        checked(name, value)


def checked(name: str, value: Any) -> Any:
    """Check one setting and bring it to its unit."""
    # YAML 1.1 reads a bare `off` as false.
    if name in ("mode", "trace", "training") and value is False:
        value = "off"
    if name == "models" and isinstance(value, dict):
        # As Dask reads them from the environment, and as keywords have them.
        value = {str(each).replace("_", "-"): threshold for each, threshold in value.items()}
    schema = _load("mlsched-schema.yaml")
    for part in _KEYS[name].split("."):
        schema = schema["properties"][part]
    try:
        jsonschema.validate(value, schema)
    except jsonschema.ValidationError as error:
        raise ConfigError(_refused(_KEYS[name], error)) from error
    if name == "policy":
        _check_policy(value)
    if name == "models":
        return _thresholds(value)
    if name == "bandwidth":
        return _positive(name, value, "bytes per second such as '10 GB/s'", _parse_bandwidth)
    if name in ("trace_directory", "training_directory"):
        return value or None  # an empty variable of the environment is none
    if name == "trace_limit":
        return _trace_limit(value)
    if schema.get("type") == ["string", "number"]:
        return _positive(name, value, "a time such as '100ms'", parse_timedelta)
    return value


def _thresholds(values: dict[str, Any]) -> Thresholds:
    """Take some of the thresholds, and the defaults for the rest."""
    return Thresholds.of({name.replace("-", "_"): value for name, value in values.items()})


def _refused(key: str, error: jsonschema.ValidationError) -> str:
    """Say what is wrong; of an object, with which of its values."""
    schema = cast("dict[str, Any]", error.schema)
    if error.validator == "additionalProperties":
        known, found = schema["properties"], cast("dict[str, Any]", error.instance)
        unknown = next(name for name in found if name not in known)
        return f"unknown setting 'mlsched.{key}.{unknown}'; expected one of {', '.join(known)}"
    where = ".".join([key, *map(str, error.path)])
    return f"mlsched.{where} is {error.instance!r}; expected {_expected(schema)}"


def _expected(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(schema["enum"])
    bounds = [f"at least {schema['minimum']}"] if "minimum" in schema else []
    bounds += [f"at most {schema['maximum']}"] if "maximum" in schema else []
    kind = schema["type"]
    return " ".join([" or ".join(kind) if isinstance(kind, list) else kind, *bounds])


def _check_policy(name: str) -> None:
    names = (*policies.LEARNED, *policies.NAMES)
    if name not in names and "." not in name:
        known = ", ".join(names)
        msg = (
            f"mlsched.policy is {name!r}; expected one of {known}, "
            "or the dotted path of a class such as 'mypackage.MyPolicy'"
        )
        raise ConfigError(msg)


def _parse_bandwidth(value: str | float) -> float:
    return float(parse_bytes(value.removesuffix("/s") if isinstance(value, str) else value))


def _trace_limit(value: str | int) -> int:
    try:
        nbytes = int(parse_bytes(value))
    except (ValueError, OverflowError):
        nbytes = 0
    if nbytes < _SMALLEST_TRACE:
        msg = (
            f"mlsched.trace-limit is {value!r}; expected a size such as '64 MiB', "
            f"at least {_SMALLEST_TRACE} bytes"
        )
        raise ConfigError(msg)
    return nbytes


def _positive(name: str, value: Any, expected: str, parse: Any) -> float:
    try:
        number = float(parse(value))
    except (ValueError, TypeError, KeyError, AttributeError):
        number = -1.0
    if not number > 0:
        msg = f"mlsched.{_KEYS[name]} is {value!r}; expected {expected}, more than 0"
        raise ConfigError(msg)
    return number


def spill_compression() -> str | None:
    """Return how Dask compresses what it writes to disk; our stores do as it does."""
    compression: str | None = dask.config.get("distributed.worker.memory.spill-compression")
    return compression


def scheduler_address() -> str | None:
    """Return the address of the scheduler that clients connect to, if one is configured."""
    address: str | None = dask.config.get("scheduler-address", None)
    return address
