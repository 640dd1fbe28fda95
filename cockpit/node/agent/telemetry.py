"""The operation `telemetry`: one sample of host and GPUs each interval.

Host and GPUs are read by two probes, each in its own thread, shared by all subscriptions. A probe
that does not answer in time is left out of the sample and named there, so a wedged driver or file
server stops neither the other figures nor anything else; its last figures are not told again.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from cockpit.node.agent.loop import Timer
from cockpit.node.agent.streams import Services, Stream
from cockpit.node.agent.workers import Probe
from cockpit.node.arguments import Arguments
from cockpit.node.sensors.gpus import make_source
from cockpit.node.sensors.gpusample import GpuSample, GpuSource
from cockpit.node.sensors.gpuusers import user_name
from cockpit.node.sensors.host import FIGURES, Host

DEFAULT_INTERVAL = 1.0
LEAST_INTERVAL = 0.1
CLOSING = 1.0
"""Seconds that a source of GPU figures may take to end what it has started."""
DEADLINE = 2.0
"""Seconds that a sample waits for its figures; less where the interval is shorter."""
FIRST_DEADLINE = 4.0
"""Seconds that the first sample waits: a driver that sleeps takes its time to wake up."""

Json = dict[str, Any]


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

    def close(self) -> None:
        """End what the sources have started; a driver that hangs is not waited for."""
        if self._source is not None:
            closing = threading.Thread(target=self._source.close, name="closing", daemon=True)
            closing.start()
            closing.join(CLOSING)


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
        self._first = True
        self._user = user_name(os.getuid())

    def start(self) -> None:
        self.reply({})
        self._tick()

    def _tick(self) -> None:
        now = time.monotonic()
        self._next = max(self._next + self._interval, now + self._interval / 2)
        self.later(self._next - now, self._tick)
        if self._deadline is not None or self.services.connection.congested:
            return
        for probe, reading in self._readings:
            reading.fresh = False
            if reading.asked is None:
                reading.asked = now
                probe.ask(self.guarded(self._receiver(reading)))
        patience = FIRST_DEADLINE if self._first else min(DEADLINE, self._interval * 0.8)
        self._deadline = self.later(patience, self._emit)

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
        first, self._first = self._first, False
        now = time.monotonic()
        host, gpus = (reading for _, reading in self._readings)
        usable = host.fresh and host.error is None
        sample: Json = {
            "at": time.time(),
            "mono": now,
            "user": self._user,
            "simulated": False,
            "host": host.value if usable else dict.fromkeys(FIGURES),
            "gpus": [],
            "gpu_error": "",
            "gpu_stalled": None,
            "driver": "",
            "cuda": "",
        }
        if not gpus.fresh:
            waited = now - (gpus.asked or now)
            sample["gpu_stalled"] = round(waited, 1)
            sample["gpu_error"] = (
                f"telemetry stalled for {waited:.0f} s: the GPU driver does not answer"
            )
        elif gpus.error is not None:
            sample["gpu_error"] = f"{type(gpus.error).__name__}: {gpus.error}"
        else:
            found, sample["simulated"] = gpus.value
            sample["gpus"], sample["gpu_error"] = found.gpus, found.error
            sample["driver"], sample["cuda"] = found.driver, found.cuda
        self.event(sample, patient=not first)
