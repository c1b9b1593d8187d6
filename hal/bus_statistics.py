"""What is counted of a serial line, for `cpctl hw bus` and `doctor`."""

from dataclasses import replace

from hal.errors import (
    BadFrame,
    CrcError,
    DeviceGone,
    DeviceTimeout,
    ExceptionAnswer,
    HalError,
)
from hal.late import dataclass

_MEMORY = 100  # requests that `failing` remembers


@dataclass(frozen=True)
class BusStatistics:
    """What happened on a line, or with one address of it, since the start.

    `requests` counts what was sent, retries included. Latencies in ms, from sending a request to
    its good answer. `failing` is the share of requests that failed lately, 0 to 1: each request
    weighs a hundredth, so that what is long over is forgotten.
    """

    requests: int = 0
    answers: int = 0
    retries: int = 0
    timeouts: int = 0
    crc_errors: int = 0
    bad_frames: int = 0
    exceptions: int = 0
    port_losses: int = 0
    stray_bytes: int = 0
    latency_last_ms: float = 0.0
    latency_mean_ms: float = 0.0
    latency_max_ms: float = 0.0
    failing: float = 0.0

    def answered(self, latency_ms: float) -> "BusStatistics":
        answers = self.answers + 1
        mean = self.latency_mean_ms + (latency_ms - self.latency_mean_ms) / answers
        return replace(
            self,
            requests=self.requests + 1,
            answers=answers,
            latency_last_ms=latency_ms,
            latency_mean_ms=mean,
            latency_max_ms=max(self.latency_max_ms, latency_ms),
            failing=self.failing - self.failing / _MEMORY,
        )

    def failed(self, error: HalError) -> "BusStatistics":
        return replace(
            self,
            requests=self.requests + 1,
            failing=self.failing + (1.0 - self.failing) / _MEMORY,
            timeouts=self.timeouts + isinstance(error, DeviceTimeout),
            crc_errors=self.crc_errors + isinstance(error, CrcError),
            bad_frames=self.bad_frames
            + (isinstance(error, BadFrame) and not isinstance(error, CrcError)),
            exceptions=self.exceptions + isinstance(error, ExceptionAnswer),
            port_losses=self.port_losses + isinstance(error, DeviceGone),
        )

    def retried(self) -> "BusStatistics":
        return replace(self, retries=self.retries + 1)
