"""What waits on a serial line, and why the line keeps quiet. Used by `serialbus.py` alone."""

from collections.abc import Callable
from dataclasses import field

from hal.errors import HalError
from hal.late import dataclass
from hal.rtu import Request

DRAINS = 8  # so often the quiet time is prolonged by bytes that came in it

Answer = tuple[int, ...]
Done = Callable[[Answer | HalError], None]


@dataclass(eq=False)
class Job:
    """A request in the queue. Without a request: only see that the port is open."""

    request: Request | None
    urgent: bool
    tries: int
    until: float | None  # monotonic; not sent any more after that; None: must be done
    waiting: list[Done]  # told when it is done, from the worker's thread
    wanted: Callable[[], bool] | None = None  # asked just before it is sent
    tried: int = 0
    sent_at: float = 0.0
    given_up: bool = False
    answered: bool = False

    @property
    def must_happen(self) -> bool:
        return self.urgent and self.until is None

    @property
    def place(self) -> tuple[int, int] | None:
        """What it is about: address and first register."""
        return None if self.request is None else (self.request.address, self.request.start)

    def answer(self, result: Answer | HalError) -> None:
        if not self.answered:
            self.answered = True
            for done in self.waiting:
                done(result)


@dataclass
class Silence:
    """Why the line keeps quiet: until when, and which answers are still owed."""

    until: float = 0.0
    drains_left: int = 0
    owed: dict[tuple[int, int, int], tuple[int, float]] = field(default_factory=dict)

    @property
    def unsettled(self) -> bool:
        return self.drains_left > 0

    def begin(self, now: float, quiet_s: float) -> None:
        self.until, self.drains_left = now + quiet_s, DRAINS

    def note_owed(self, request: Request, until: float) -> None:
        if request.look is not None:
            self.owed[request.look] = (request.start, until)

    def still_owed(self, request: Request, now: float) -> bool:
        """An answer to an earlier try may have been taken for the one to this request."""
        _, until = self.owed.get(request.look or (0, 0, 0), (0, 0.0))
        return now < until

    def ready_at(self, request: Request | None) -> float:
        """When `request` may be sent without being answered by somebody else's answer."""
        start, until = self.owed.get(request.look or (0, 0, 0), (0, 0.0)) if request else (0, 0.0)
        ambiguous = request is not None and start != request.start
        return max(self.until, until) if ambiguous else self.until
