"""A finding of ``check``: one thing that was looked at, how it is, and what to do about it."""

from __future__ import annotations

from ..visible import visible_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..cli.output import Paper

#: Status, its mark and colour on a terminal.
_SHOWN = {"ok": ("ok", "green"), "warning": ("late", "yellow"), "problem": ("failed", "red")}


class Finding:
    """One finding.

    :param status: ``ok``, ``warning`` (things may go wrong) or ``problem`` (they do).
    :param remedy: what to do about it; "" when all is well.
    """

    __slots__ = ("fact", "remedy", "status", "what")

    def __init__(self, status: str, what: str, fact: str, remedy: str = "") -> None:
        self.status, self.what, self.fact, self.remedy = status, what, fact, remedy

    def lines(self, paper: Paper) -> list[str]:
        mark, colour = _SHOWN[self.status]
        word = paper.paint(f"{self.status:<8}", colour)
        lines = [f"{paper.mark(mark)} {word} {self.what:<12} {visible_line(self.fact)}"]
        if self.remedy:
            lines.append(f"{'':24}{visible_line(self.remedy)}")
        return lines

    def as_json(self) -> dict[str, str | None]:
        return {"what": self.what, "status": self.status, "fact": self.fact, "remedy": self.remedy or None}


def ok(what: str, fact: str) -> Finding:
    return Finding("ok", what, fact)


def warning(what: str, fact: str, remedy: str) -> Finding:
    return Finding("warning", what, fact, remedy)


def problem(what: str, fact: str, remedy: str) -> Finding:
    return Finding("problem", what, fact, remedy)
