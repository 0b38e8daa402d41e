from __future__ import annotations

import re
from dataclasses import asdict, replace

import dask
import pytest
import yaml

from dask_mlsched.config import _KEYS, Config, ConfigError, _load, _lookup, check_overrides
from dask_mlsched.core.policies import LEARNED, NAMES
from dask_mlsched.core.thresholds import Thresholds


def test_the_defaults_are_those_of_the_file():
    config = Config.read()
    assert config.mode == "manage"
    assert config.policy == "learned"
    assert config.scope == "tiered"
    assert config.bandwidth == 10e9
    assert config.hold_limit == 1.0
    assert config.round_trip == 0.005
    assert config.check_interval == 0.1
    assert config.failures == 10


def test_a_setting_comes_from_dask_s_configuration():
    with dask.config.set({"mlsched.policy": "fifo", "mlsched.hold.limit": "20ms"}):
        config = Config.read()
    assert (config.policy, config.hold_limit) == ("fifo", 0.02)


def test_a_setting_comes_from_the_environment():
    environment = {"DASK_MLSCHED__POLICY_LIMITS__FAILURES": "3", "DASK_MLSCHED__MODE": "observe"}
    with dask.config.set(dask.config.collect_env(environment)):
        config = Config.read()
    assert (config.failures, config.mode) == (3, "observe")


def test_a_keyword_takes_the_place_of_the_configuration():
    with dask.config.set({"mlsched.lookahead": 7}):
        assert Config.read(lookahead=2).lookahead == 2
        assert Config.read().lookahead == 7


def test_an_emptied_configuration_leaves_the_defaults():
    """As distributed's test tools do it when they are imported first."""
    with dask.config.set({"mlsched": None}):
        dask.config.config.pop("mlsched")
        assert Config.read().policy == "learned"


def test_a_bare_off_in_yaml_is_what_it_looks_like():
    with dask.config.set(yaml.safe_load("mlsched: {mode: off, trace: off, training: {mode: off}}")):
        config = Config.read()
    assert (config.mode, config.trace, config.training) == ("off", "off", "off")


@pytest.mark.parametrize(
    ("name", "value", "number"),
    [
        ("bandwidth", "12 GB/s", 12e9),
        ("bandwidth", "1.5MB/s", 1.5e6),
        ("bandwidth", 5e9, 5e9),
        ("hold_limit", "250 ms", 0.25),
        ("round_trip", "20ms", 0.02),
        ("hold_limit", 2, 2.0),
        ("time_budget", "50us", 5e-5),
        ("check_interval", "1 minute", 60.0),
    ],
)
def test_quantities_are_brought_to_their_unit(name, value, number):
    assert getattr(Config.read(**{name: value}), name) == pytest.approx(number)


@pytest.mark.parametrize("value", [None, ""])
def test_no_directory_is_none(value):
    config = Config.read(trace_directory=value, training_directory=value)
    assert (config.trace_directory, config.training_directory) == (None, None)


@pytest.mark.parametrize("mode", ["collect", "background"])
@pytest.mark.parametrize("directory", [None, ""])
def test_training_needs_a_directory(mode, directory):
    message = (
        f"mlsched.training.mode is {mode!r} and mlsched.training.directory is None; expected a "
        "directory on the scheduler's machine: "
        "dask_mlsched.install(client, training=…, training_directory=…)"
    )
    with pytest.raises(ConfigError) as caught:
        Config.read(training=mode, training_directory=directory)
    assert str(caught.value) == message
    assert Config.read(training=mode, training_directory="here").training == mode
    assert Config.read(training="off", training_directory=directory).training == "off"


def test_one_half_of_training_may_be_configured_where_the_scheduler_is():
    check_overrides(training="background")
    with dask.config.set({"mlsched.training.directory": "there"}):
        assert Config.read(training="background").training_directory == "there"


@pytest.mark.parametrize(
    ("value", "nbytes"), [("64 MiB", 2**26), ("10kB", 10_000), (12_345, 12_345)]
)
def test_the_limit_of_a_trace_is_brought_to_bytes(value, nbytes):
    assert Config.read(trace_limit=value).trace_limit == nbytes


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mode", "on", "mlsched.mode is 'on'; expected one of off, observe, manage"),
        ("mode", True, "mlsched.mode is True; expected one of off, observe, manage"),
        ("scope", "none", "mlsched.scope is 'none'; expected one of tiered, all"),
        ("lookahead", -1, "mlsched.lookahead is -1; expected integer at least 0 at most 1000"),
        ("lookahead", 1.5, "mlsched.lookahead is 1.5; expected integer at least 0 at most 1000"),
        ("shortlist", 0, "mlsched.shortlist is 0; expected integer at least 1 at most 1000"),
        ("seed", "x", "mlsched.seed is 'x'; expected integer"),
        ("failures", 0, "mlsched.policy-limits.failures is 0; expected integer at least 1"),
        ("policy", 5, "mlsched.policy is 5; expected string"),
        (
            "policy",
            "best",
            (
                f"mlsched.policy is 'best'; expected one of {', '.join((*LEARNED, *NAMES))}, "
                "or the dotted path of a class such as 'mypackage.MyPolicy'"
            ),
        ),
        (
            "bandwidth",
            "fast",
            "mlsched.bandwidth is 'fast'; expected bytes per second such as '10 GB/s', more than 0",
        ),
        (
            "bandwidth",
            0,
            "mlsched.bandwidth is 0; expected bytes per second such as '10 GB/s', more than 0",
        ),
        (
            "bandwidth",
            "10 s",
            "mlsched.bandwidth is '10 s'; expected bytes per second such as '10 GB/s', more than 0",
        ),
        (
            "hold_limit",
            "5 MB",
            "mlsched.hold.limit is '5 MB'; expected a time such as '100ms', more than 0",
        ),
        (
            "hold_limit",
            "-1s",
            "mlsched.hold.limit is '-1s'; expected a time such as '100ms', more than 0",
        ),
        (
            "time_budget",
            float("nan"),
            (
                "mlsched.policy-limits.time-budget is nan; expected a time such as '100ms', "
                "more than 0"
            ),
        ),
        (
            "check_interval",
            float("inf"),
            "mlsched.check-interval is inf; expected a time such as '100ms', more than 0",
        ),
        ("snapshot_interval", None, "mlsched.snapshot-interval is None; expected string or number"),
        ("explain_length", -1, "mlsched.explain-length is -1; expected integer at least 0"),
        ("trace", "file", "mlsched.trace is 'file'; expected one of off, memory"),
        ("trace_directory", 5, "mlsched.trace-directory is 5; expected string or null"),
        (
            "training",
            "on",
            "mlsched.training.mode is 'on'; expected one of off, collect, background",
        ),
        ("training_directory", 5, "mlsched.training.directory is 5; expected string or null"),
        ("training_capacity", 0, "mlsched.training.capacity is 0; expected integer at least 1"),
        (
            "training_update_after",
            0,
            "mlsched.training.update-after is 0; expected integer at least 1",
        ),
        (
            "training_seconds",
            "0s",
            "mlsched.training.seconds is '0s'; expected a time such as '100ms', more than 0",
        ),
        ("trace_limit", 1.5, "mlsched.trace-limit is 1.5; expected string or integer"),
        *[
            (
                "trace_limit",
                value,
                (
                    f"mlsched.trace-limit is {value!r}; expected a size such as '64 MiB', "
                    "at least 10000 bytes"
                ),
            )
            for value in (9_999, -1, "1 kB", "10 s", "much")
        ],
    ],
)
def test_a_bad_value_gets_one_line_with_the_value_and_what_was_expected(name, value, message):
    with pytest.raises(ConfigError) as caught:
        check_overrides(**{name: value})
    assert str(caught.value) == message
    with dask.config.set({f"mlsched.{_KEYS[name]}": value}), pytest.raises(ConfigError) as caught:
        Config.read()
    assert str(caught.value) == message


def test_an_unknown_keyword_is_named_with_those_that_there_are():
    with pytest.raises(ConfigError, match=r"unknown setting 'polciy'; expected one of mode, "):
        Config.read(polciy="greedy")


def test_every_default_passes_its_own_check_and_every_key_has_a_schema():
    defaults, schema = _load("mlsched.yaml")["mlsched"], _load("mlsched-schema.yaml")
    for name, key in _KEYS.items():
        check_overrides(**{name: _lookup(defaults, key)})
        part = schema
        for step in key.split("."):
            part = part["properties"][step]
        assert part["description"] or part["enum"]


def test_the_file_holds_no_setting_that_nobody_reads():
    def leaves(tree: dict[str, object], prefix: str = "") -> set[str]:
        found: set[str] = set()
        for name, value in tree.items():
            nested = isinstance(value, dict) and prefix + name not in _KEYS.values()
            found |= leaves(value, f"{prefix}{name}.") if nested else {prefix + name}
        return found

    assert leaves(_load("mlsched.yaml")["mlsched"]) == set(_KEYS.values())


def test_the_thresholds_of_models_have_one_set_of_defaults() -> None:
    assert Config.read().models == Thresholds()
    written = _load("mlsched.yaml")["mlsched"]["models"]
    described = _load("mlsched-schema.yaml")["properties"]["models"]["properties"]
    assert {name.replace("-", "_"): value for name, value in written.items()} == asdict(
        Thresholds()
    )
    assert list(described) == list(written)


@pytest.mark.parametrize("name", ["bad-run", "bad_run"])
def test_a_threshold_is_set_without_touching_the_others(name: str) -> None:
    with dask.config.set({"mlsched.models": {name: 2.0}}):
        config = Config.read()
    assert config.models == replace(Thresholds(), bad_run=2.0)
    assert Config.read(models={name: 2.0}).models == config.models


def test_a_threshold_comes_from_the_environment() -> None:
    environment = {"DASK_MLSCHED__MODELS__BAD_RUN": "2.5"}
    with dask.config.set(dask.config.collect_env(environment)):
        assert Config.read().models.bad_run == 2.5


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({"bad-run": 0.5}, "mlsched.models.bad-run is 0.5; expected number at least 1"),
        ({"odd": 1}, "unknown setting 'mlsched.models.odd'; expected one of same-family, near"),
        ({"merge-after": 2.5}, "mlsched.models.merge-after is 2.5; expected integer at least 2"),
        ({"same-family": "x"}, "mlsched.models.same-family is 'x'; expected number at least 0"),
        (3, "mlsched.models is 3; expected object"),
    ],
)
def test_a_threshold_that_is_none_is_named(models: object, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        Config.read(models=models)
