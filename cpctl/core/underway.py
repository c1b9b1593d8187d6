"""What the station remembers of what is under way: an update, an upload, a change of its access.

Values only; what becomes of them is decided in `firmware.py`, `log_jobs.py` and `security.py`.
"""

from dataclasses import field
from enum import Enum

from cpctl.core.jobs import FirmwareOrder, FirmwareStatus, LogStatus
from cpctl.core.values import Kept
from hal.late import dataclass


class Step(Enum):
    """Where an update is; the statuses told follow from the moves."""

    SCHEDULED = "scheduled"  # until the date of retrieval
    FETCHING = "fetching"
    READY = "ready"  # fetched and checked: until the date of installation
    WAITING = "waiting"  # due: until nothing is in use any more
    INSTALLING = "installing"
    RESTARTING = "restarting"  # the next start is the new release
    FINDING = "finding"  # after a start: how far did it come?
    ON_TRIAL = "on_trial"  # we are the new release, and have to reach the central system
    CONFIRMING = "confirming"
    ENDED = "ended"


@dataclass(frozen=True)
class FirmwareUpdate(Kept):
    """The update that runs, or ran last. `told` is the status told last."""

    order: FirmwareOrder
    step: Step
    told: FirmwareStatus = FirmwareStatus.IDLE

    @property
    def signed(self) -> bool:
        return self.order.job is not None


@dataclass(frozen=True)
class LogJob(Kept):
    """An upload. `job` None: of GetDiagnostics. At its end it stays until that could be told."""

    job: int | None
    status: LogStatus

    @property
    def runs(self) -> bool:
        return self.status is LogStatus.UPLOADING


@dataclass(frozen=True)
class Secret:
    """A text that is never shown."""

    text: str = field(repr=False)


@dataclass(frozen=True)
class Access:
    """What there is to get in with. `other_*`: what held before a change that has not proved
    itself yet; an `other_password` of "" is the one of the configuration. `other_is_newer`: it was
    refused where the old one was taken, and waits for the central system to know it."""

    configured_password: bool = False
    csms_root: bool = False
    certificate: bool = False
    other_profile: int | None = None
    other_password: Secret | None = None
    other_is_newer: bool = False
