"""The operation `telemetry`: one sample of host and GPUs each interval.

Host and GPUs are read by two probes, each in its own thread, shared by all subscriptions. A probe
that does not answer in time is left out of the sample and named there, so a wedged driver or file
server stops neither the other figures nor anything else.
"""

from __future__ import annotations

import time
from typing import Any

from cockpit.node.arguments import Arguments
from cockpit.node.gpus import make_source
from cockpit.node.gpusample import GpuSample, GpuSource
from cockpit.node.host import Host
from cockpit.node.loop import Timer
from cockpit.node.streams import Services, Stream
from cockpit.node.workers import Probe

DEFAULT_INTERVAL = 2.0
LEAST_INTERVAL = 0.1
DEADLINE = 2.0
"""Seconds that a sample waits for its figures; less where the interval is shorter."""

Json = dict[str, Any]
_NO_FIGURES = (
    "cpus",
    "load1",
    "cpu_percent",
    "memory_used",
    "memory_total",
    "disk_free",
    "disk_total",
    "uptime",
)


class Sensors:
    """The two probes of this agent."""

    def __init__(self, services: Services) -> None:
        state_dir = services.node.state_dir
        self._state_dir = state_dir
        self._source: GpuSource | None = None
        self.gpus = Probe(services.loop, self._sample_gpus, "gpus")
        self.host = Probe(services.loop, Host(state_dir).sample, "host")

    def _sample_gpus(self) -> tuple[GpuSample, bool]:
        if self._source is None:
            self._source = make_source(self._state_dir)
        return self._source.sample(), self._source.simulated


class _Reading:
    """What one probe last said to one subscription."""

    def __init__(self) -> None:
        self.asked: float | None = None
        """Monotonic time of the question that has no answer yet."""
        self.value: Any = None
        self.error: Exception | None = None
        self.fresh = False


class Telemetry(Stream):
    def __init__(
        self, services: Services, number: int, arguments: Arguments, sensors: Sensors
    ) -> None:
        super().__init__(services, number)
        self._interval = arguments.seconds("interval", DEFAULT_INTERVAL, LEAST_INTERVAL)
        self._readings = [(sensors.host, _Reading()), (sensors.gpus, _Reading())]
        self._next = time.monotonic()
        self._deadline: Timer | None = None

    def start(self) -> None:
        self.reply({})
        self._tick()

    def _tick(self) -> None:
        now = time.monotonic()
        self._next = max(self._next + self._interval, now + self._interval / 2)
        self.later(self._next - now, self._tick)
        if self.services.connection.congested:
            return
        for probe, reading in self._readings:
            reading.fresh = False
            if reading.asked is None:
                reading.asked = now
                probe.ask(self.guarded(self._receiver(reading)))
        self._deadline = self.later(min(DEADLINE, self._interval * 0.8), self._emit)

    def _receiver(self, reading: _Reading) -> Any:
        def receive(value: Any, error: Exception | None) -> None:
            reading.asked = None
            reading.value, reading.error, reading.fresh = value, error, True
            waiting = self._deadline is not None
            if waiting and all(other.fresh for _, other in self._readings):
                self._emit()

        return receive

    def _emit(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        host, gpus = (reading for _, reading in self._readings)
        sample: Json = {"at": time.time(), "mono": time.monotonic(), "simulated": False}
        usable = host.fresh and host.error is None
        sample["host"] = host.value if usable else dict.fromkeys(_NO_FIGURES)
        sample["gpus"] = []
        if not gpus.fresh:
            waited = time.monotonic() - (gpus.asked or time.monotonic())
            sample["gpu_error"] = f"the GPU driver has not answered for {waited:.0f} s"
        elif gpus.error is not None:
            sample["gpu_error"] = f"{type(gpus.error).__name__}: {gpus.error}"
        else:
            (sample["gpus"], sample["gpu_error"]), sample["simulated"] = gpus.value
        self.event(sample)
