"""Text from elsewhere made visible: nothing in it may steer a terminal, or turn a line around."""

from __future__ import annotations

#: Turns the direction of what follows it, so that a line reads otherwise than it is.
_BIDI = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))

#: The code points that are made visible: C0, DEL and C1 steer a terminal; the last two break a line where none is seen.
STEERING = (*range(0x20), *range(0x7F, 0xA0), *_BIDI, 0x2028, 0x2029)

_LINE = {code: chr(code).encode("unicode_escape").decode("ascii") for code in STEERING}
_TEXT = {code: escaped for code, escaped in _LINE.items() if chr(code) not in "\n\t"}


def visible(text: str) -> str:
    """Return the text with all that could steer a terminal as ``\\x1b`` and the like; lines and tabs stay."""
    return text.replace("\r\n", "\n").translate(_TEXT)


def visible_line(text: str) -> str:
    """Return the text as one line: line ends and tabs are made visible too."""
    return text.translate(_LINE)
