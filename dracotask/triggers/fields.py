"""Cron expressions: checked field by field, and brought into the form that is stored.

Checked before anything is expanded, with an answer that says what would be right.
"""

from __future__ import annotations

from ..errors import BadTrigger
from .times import times_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

#: The longest expression that is read; anything sensible is far below.
MAX_LENGTH = 200

#: What each word stands for.
MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * sun",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

#: Why a word of other crons is no rule here, and what to write instead.
NO_RULES = {
    "@reboot": "a start is no time: call the task where your program or server starts",
    "@every": "write every='90s' for an interval",
}


class Field:
    """One of the six fields.

    :ivar rule: what is right in it, for people.
    :ivar names: of its numbers, from ``low`` on; none for most fields.
    """

    __slots__ = ("name", "low", "high", "rule", "names", "spread_to")

    def __init__(self, name: str, low: int, high: int, rule: str, names: str = "", spread_to: int = 0) -> None:
        self.name, self.low, self.high, self.rule, self.names = name, low, high, rule, names.split()
        # The 29th is not in every month, and Sunday has two numbers.
        self.spread_to = spread_to or high

    def part(self, text: str) -> str:
        """Return one part of the field's list as it is stored, once it is right.

        :raises ValueError: when it is not, with a reason where the field's rule is not enough of one.
        """
        span, has_step, step = text.partition("/")
        if not has_step and (special := self._special(span)):
            return special
        if has_step:
            self.check_step(step, self.low, self.high)
        if span == "*":
            return text
        first, has_last, last = span.partition("-")
        low, high = self.number(first), self.number(last) if has_last else self.high + 1
        if low > high:
            return self._round(low, high, int(step or 1))
        # cronsim would go on to the end with 5-5/10, as with 5/10.
        return first if low == high else text

    def number(self, text: str) -> int:
        """Return a number of the field, or one that is given by name."""
        if text.lower() in self.names:
            return self.names.index(text.lower()) + self.low
        if not text.isdigit() or not self.low <= int(text) <= self.high:
            raise ValueError
        return int(text)

    def check_step(self, step: str, low: int, high: int) -> None:
        count = high - low + 1
        if not step.isdigit() or not 1 <= int(step) <= count:
            longer = " For a longer distance write every='90m'." if self.name in ("second", "minute", "hour") else ""
            raise ValueError(f"A step here is 1 to {count}.{longer}")

    def _special(self, text: str) -> str | None:
        """Return L, LW, 5L and 5#2 as cronsim has them; None for anything else."""
        if self.name == "day-of-month":
            return text.upper() if text.upper() in ("L", "LW") else None
        if self.name != "day-of-week":
            return None
        day, has_count, count = text.partition("#")
        if has_count and count in ("1", "2", "3", "4", "5"):
            self.number(day)
            return text
        return f"{self.number(text[:-1])}L" if text.upper().endswith("L") else None

    def _round(self, low: int, high: int, step: int) -> str:
        """Return a range that goes on over the end, as fri-mon, written as a list."""
        if not self.names:
            raise ValueError(f"A range goes upwards: write {low}-{self.high},{self.low}-{high}.")
        count = len(self.names)
        numbers = range(low, high + count + 1, step)
        return ",".join(self.names[(number - self.low) % count] for number in numbers)


FIELDS = (
    Field("second", 0, 59, "Seconds are 0-59."),
    Field("minute", 0, 59, "Minutes are 0-59."),
    Field("hour", 0, 23, "Hours are 0-23."),
    Field(
        "day-of-month", 1, 31, "Days of the month are 1-31, L for the last or LW for the last weekday.", spread_to=28
    ),
    Field("month", 1, 12, "Months are 1-12 or jan-dec.", "jan feb mar apr may jun jul aug sep oct nov dec"),
    Field(
        "day-of-week", 0, 7,
        "Days of the week are 0-7 or sun-sat (0 and 7 are Sunday), 5L for the last Friday, 5#2 for the second.",
        "sun mon tue wed thu fri sat", spread_to=6,
    ),
)  # fmt: skip


def plain(expression: str) -> str:
    """Return an expression as it is stored: five or six fields, single spaces, no macro; it is sure to fire.

    :raises BadTrigger: when it is not right, or can never fire.
    """
    fields = _split(expression)
    checked = " ".join(
        ",".join(_part(field, part, expression) for part in text.split(","))
        for field, text in zip(_fields_for(fields), fields, strict=True)
    )
    if len(checked) > MAX_LENGTH:
        raise _too_long(expression)
    times_of(checked)
    return checked


def spread(expression: str, name: str) -> str:
    """Return an expression with each H replaced by numbers that follow from a name alone.

    So that not all jobs begin on the hour: ``H 3 * * *`` is a minute of its own for each name, the same on
    all hosts and for ever. ``H/15`` is every fifteenth, ``H(0-29)`` is within a range, and
    ``H(0-29)/10`` is both. A day of the month is one of 1 to 28.

    :raises BadTrigger: when the expression is not right.
    """
    fields = _split(expression)
    return " ".join(
        ",".join(_spread_part(field, part, name, expression) for part in text.split(","))
        for field, text in zip(_fields_for(fields), fields, strict=True)
    )


def follows_the_clock(expression: str) -> bool:
    """Return True for a job that cron runs whenever the clock shows its time, False for a fixed time."""
    minute, hour = expression.split()[-5:-3]
    return minute.startswith("*") or hour.startswith("*")


def _split(expression: str) -> list[str]:
    """Return the fields of an expression, five or six of them."""
    if not isinstance(expression, str) or len(expression) > MAX_LENGTH or not expression.isascii():
        raise _too_long(expression)
    fields = expression.split()
    word = fields[0].lower() if fields else ""
    if word.startswith("@"):
        fields = _macro(word, expression, len(fields)).split()
    if word.startswith(("tz=", "cron_tz=")):
        remedy = "the zone is said apart from it, as in timezone = 'Europe/Riga' or 'cron 0 4 * * * Europe/Riga'"
        raise BadTrigger(f"cron expression {expression!r}: {remedy}.")
    if len(fields) not in (5, 6):
        count = f"{len(fields)} field{'s' * (len(fields) != 1)}"
        names = " ".join(field.name for field in FIELDS[1:])
        raise BadTrigger(
            f"cron expression {expression!r} has {count}; five are needed: {names}. A sixth before them is of seconds."
        )
    return fields


def _macro(word: str, expression: str, count: int) -> str:
    if count == 1 and word in MACROS:
        return MACROS[word]
    remedy = NO_RULES.get(word, f"it is one of {' '.join(MACROS)}, alone")
    raise BadTrigger(f"cron expression {expression!r} is no rule: {remedy}.")


def _fields_for(texts: Sequence[str]) -> Sequence[Field]:
    return FIELDS[-len(texts) :]


def _part(field: Field, text: str, expression: str) -> str:
    try:
        return field.part(text)
    except ValueError as error:
        if text.startswith("H"):
            remedy = "H takes its number from a task's name: say it in schedule(), or use spread(expression, name)"
            raise BadTrigger(f"cron expression {expression!r}: {remedy}.") from None
        raise _wrong(field, text, expression, error) from None


def _spread_part(field: Field, text: str, name: str, expression: str) -> str:
    if not text.startswith("H"):
        return text
    try:
        return _spread_over(field, text[1:], name)
    except ValueError as error:
        raise _wrong(field, text, expression, error) from None


def _spread_over(field: Field, text: str, name: str) -> str:
    """Return what stands for an H that is followed by ``text``: a range in parentheses, a step, or both."""
    span, has_step, step = text.partition("/")
    low, high = field.low, field.spread_to
    if span:
        if not (span.startswith("(") and span.endswith(")")):
            raise ValueError("Write H, H/15, H(0-29) or H(0-29)/10.")
        low, high = (field.number(end) for end in span[1:-1].split("-", 1)) if "-" in span else (1, 0)
    if low > high:
        raise ValueError("The range of an H goes upwards, as in H(0-29).")
    if not has_step:
        return str(low + _share(name, field) % (high - low + 1))
    field.check_step(step, low, high)
    start = low + _share(name, field) % int(step)
    return f"{start}-{high}/{step}" if start < high else str(start)


def _share(name: str, field: Field) -> int:
    """Return a number that looks like chance and is always the same; `hash` differs between processes."""
    from hashlib import sha256

    return int.from_bytes(sha256(f"{field.name} of {name}".encode("utf-8", "surrogatepass")).digest()[:8], "big")


def _wrong(field: Field, text: str, expression: str, error: ValueError) -> BadTrigger:
    reason = str(error) or field.rule
    return BadTrigger(f"cron expression {expression!r}: {text!r} is no {field.name}. {reason}")


def _too_long(expression: object) -> BadTrigger:
    return BadTrigger(f"cron expression {expression!r:.60} is not a text of {MAX_LENGTH} plain characters at most.")
