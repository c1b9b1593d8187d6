"""Keeps a flood of one kind of trouble out of the log. Pure; times in monotonic seconds."""

LINES = 5
WINDOW_S = 60.0


class Damper:
    """Lets `LINES` lines through per window and counts the rest."""

    def __init__(self) -> None:
        self.total = 0
        self._since_s = float("-inf")
        self._lines = 0
        self._kept_back = 0

    def let_through(self, now_s: float) -> int | None:
        """How many were kept back before this one; None: keep this one back too."""
        self.total += 1
        if now_s - self._since_s >= WINDOW_S:
            self._since_s, self._lines = now_s, 0
        if self._lines >= LINES:
            self._kept_back += 1
            return None
        self._lines += 1
        kept_back, self._kept_back = self._kept_back, 0
        return kept_back
