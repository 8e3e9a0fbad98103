# SPDX-License-Identifier: Apache-2.0
"""What ``intent-events sink`` is put together from: metrics by the SDK, shown in the format of Prometheus."""

import logging
import resource
import sys
from collections.abc import Callable

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from intent_events.settings import SinkSettings
from intent_events.sink.sink import Sink
from intent_events.version import __version__


def prepare_process() -> None:
    """Log to standard error, and allow as many connections as the system does."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING, stream=sys.stderr)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def make_sink(settings: SinkSettings, dsn: Callable[[], str]) -> Sink:
    """A sink with its metrics.

    Args:
        settings: of the sink.
        dsn: gives the address of Postgres as it is now.

    Raises:
        SettingsError: a setting, a file that it names, or the address cannot be used.
    """
    provider = MeterProvider(metric_readers=[PrometheusMetricReader()])
    meter = provider.get_meter("intent_events_sink", __version__)
    return Sink(settings, dsn, meter, lambda: (generate_latest(REGISTRY), CONTENT_TYPE_LATEST))
