"""The form of what ``dask mlsched bench --json`` writes, as a JSON schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FORMAT = "mlsched-bench"
VERSION = 2


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


_COUNT = {"type": "integer", "minimum": 0}
_SECONDS = {"type": "number", "minimum": 0}
_RATIO = {"type": "number", "exclusiveMinimum": 0}
_TEXT = {"type": "string"}
_OPTIONAL = {"type": ["number", "null"]}
_FLAG = {"type": "boolean"}

#: Bytes are integers; times are seconds; a ratio is a run's seconds over stock's. Bandwidth and
#: latency are those of emulated devices, null where there was none.
SCHEMA: dict[str, Any] = _object(
    {
        "format": {"const": FORMAT},
        "version": {"const": VERSION},
        "versions": {"type": "object", "additionalProperties": _TEXT},
        "results": {
            "type": "array",
            "items": _object(
                {
                    "workload": _TEXT,
                    "parameters": {
                        "type": "object",
                        "additionalProperties": {"type": ["number", "string"]},
                    },
                    "seed": _COUNT,
                    "tasks": _COUNT,
                    "working_set": _COUNT,
                    "memory_ratio": _SECONDS,
                    "conditions": _object(
                        {
                            "device_memory_limit": _COUNT,
                            "bandwidth": _OPTIONAL,
                            "latency": _OPTIONAL,
                            "workers": _COUNT,
                            "threads_per_worker": _COUNT,
                            "timeout": _SECONDS,
                        }
                    ),
                    "results_equal": _FLAG,
                    "summaries": {
                        "type": "array",
                        "items": _object(
                            {
                                "policy": _TEXT,
                                "store": _TEXT,
                                "seconds": _SECONDS,
                                "bytes_loaded": _COUNT,
                                "bytes_evicted": _COUNT,
                                "loads": _COUNT,
                                "evictions": _COUNT,
                                "holds": _COUNT,
                                "ratios": {"type": "array", "items": _RATIO},
                                "ratio": {"anyOf": [_RATIO, {"type": "null"}]},
                                "results_equal": _FLAG,
                            }
                        ),
                    },
                    "runs": {
                        "type": "array",
                        "items": _object(
                            {
                                "policy": _TEXT,
                                "store": _TEXT,
                                "repeat": _COUNT,
                                "position": _COUNT,
                                "seconds": _SECONDS,
                                "loads": _COUNT,
                                "evictions": _COUNT,
                                "bytes_loaded": _COUNT,
                                "bytes_evicted": _COUNT,
                                "load_seconds": _SECONDS,
                                "evict_seconds": _SECONDS,
                                "callback_errors": _COUNT,
                                "loads_ahead": _COUNT,
                                "compute_seconds": _SECONDS,
                                "decisions": _COUNT,
                                "holds": _COUNT,
                                "hold_seconds": _SECONDS,
                                "decision_seconds_p50": _OPTIONAL,
                                "decision_seconds_p99": _OPTIONAL,
                                "policy_failures": _COUNT,
                                "errors": _COUNT,
                                "digest": {"type": ["string", "null"]},
                                "matches_reference": _FLAG,
                            }
                        ),
                    },
                }
            ),
        },
    }
)
