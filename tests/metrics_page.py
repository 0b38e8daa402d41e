"""A scheduler's `/metrics`, fetched over HTTP and parsed as Prometheus does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import prometheus_client
from distributed import Scheduler
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from tornado.httpclient import AsyncHTTPClient

from dask_mlsched.extension.metrics import PluginCollector

PREFIX = "dask_mlsched_"


@dataclass(frozen=True)
class Page:
    """What is there; of samples, only ours."""

    text: str
    #: Family without prefix -> "counter" or "gauge".
    kinds: dict[str, str]
    #: (sample without prefix, values of its labels in the order of their names) -> figure.
    samples: dict[tuple[str, ...], float]

    def __getitem__(self, name: str | tuple[str, ...]) -> float:
        return self.samples[(name,) if isinstance(name, str) else name]

    def counters(self) -> dict[tuple[str, ...], float]:
        return {sample: x for sample, x in self.samples.items() if sample[0].endswith("_total")}


def parsed(text: str) -> Page:
    kinds, samples = {}, {}
    for family in text_string_to_metric_families(text):
        if family.name.startswith(PREFIX):
            kinds[family.name.removeprefix(PREFIX)] = family.type
            for each in family.samples:
                samples[(each.name.removeprefix(PREFIX), *_values(each.labels))] = each.value
    return Page(text, kinds, samples)


async def fetched(scheduler: Scheduler) -> Page:
    url = f"http://127.0.0.1:{scheduler.http_server.port}/metrics"
    response = await AsyncHTTPClient().fetch(url)
    return parsed(response.body.decode())


def registered() -> Iterator[Collector]:
    """Yield our collectors in the process's registry."""
    collectors = list(prometheus_client.REGISTRY._collector_to_names)
    return (each for each in collectors if isinstance(each, PluginCollector))


def _values(labels: dict[str, str]) -> tuple[str, ...]:
    return tuple(value for _, value in sorted(labels.items()))
