"""One line per figure: what was measured, beside its goal, met or missed."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """`met` None: could not be measured, and `value` says why."""

    name: str
    value: str
    goal: str
    met: bool | None
    beside: str = ""


def row(name: str, value: float, goal: float, unit: str, *, at_least: bool = False,
        beside: str = "", digits: int = 2) -> Row:
    met = value >= goal if at_least else value <= goal
    sign = ">=" if at_least else "<="
    shown = f"{value:,.{digits}f} {unit}".strip().replace(",", " ")
    return Row(name, shown, f"{sign} {goal:g} {unit}".strip(), met, beside)


def show(rows: list[Row]) -> str:
    """The table, columns as wide as they must be; what could not be measured says why below."""
    words = {True: "met", False: "MISSED", None: "not measured"}
    cells = [("figure", "measured", "goal", "", "beside")]
    cells += [(one.name, one.value if one.met is not None else "-", one.goal, words[one.met],
               one.beside) for one in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(5)]
    lines = []
    for number, line in enumerate(cells):
        lines.append("  ".join(
            text.rjust(width) if column == 1 else text.ljust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))).rstrip())
        if number == 0:
            lines.append("  ".join("-" * width for width in widths))
    lines += [f"\n{one.name}: {one.value}" for one in rows if one.met is None]
    return "\n".join(lines)
