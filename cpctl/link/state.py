"""How the link is at a moment, for people and the local API."""

from cpctl.core.now import Now
from cpctl.core.values import Registration
from hal.late import dataclass


@dataclass(frozen=True)
class LinkState:
    """The link at a moment. `since` is when `online` changed; `detail` a sentence for people."""

    online: bool
    registration: Registration
    since: Now
    url: str
    protocol: str | None
    last_frame: Now | None
    held: bool
    detail: str
    bad_frames: int
    strays: int
