"""What a scenario found out, and the table of all findings."""

import json
import textwrap
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Finding:
    """`passed` None: it could not be tried, and `saw` says why."""

    name: str
    saw: str
    figure: str = ""
    limit: str = ""
    passed: bool | None = True


def within(name: str, saw: str, value: float, limit: float, unit: str, *, digits: int = 2
           ) -> Finding:
    """A figure that has to be at most its limit."""
    return Finding(name, saw, f"{value:.{digits}f} {unit}", f"<= {limit:g} {unit}", value <= limit)


WORDS = {True: "pass", False: "FAIL", None: "not tried"}


def table(findings: list[Finding]) -> str:
    """One line each; what was seen of a failure stands in full below."""
    cells = [("scenario", "what was seen", "figure", "limit", "")]
    cells += [(one.name, _short(one.saw), one.figure, one.limit, WORDS[one.passed])
              for one in findings]
    widths = [max(len(line[column]) for line in cells) for column in range(5)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
             for line in cells]
    lines.insert(1, "  ".join("-" * width for width in widths))
    for one in findings:
        if one.passed is not True:
            lines.append(f"\n{one.name}: {WORDS[one.passed]}\n" + textwrap.indent(one.saw, "    "))
    passed = sum(one.passed is True for one in findings)
    lines.append(f"\n{passed} of {len(findings)} passed")
    return "\n".join(lines)


def _short(text: str, width: int = 72) -> str:
    line = text.strip().split("\n", maxsplit=1)[0]
    return line if len(line) <= width else line[:width - 1] + "…"


def as_json(findings: list[Finding]) -> str:
    return json.dumps([asdict(one) for one in findings], indent=1, ensure_ascii=False)
