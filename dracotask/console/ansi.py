"""The output of a run as HTML: what a terminal would show of it, line by line, and nothing that is not harmless.

Output may come from anywhere. All of it is escaped; colours become classes; what else steers a terminal is
taken away where it is an escape sequence, and shown as ``\\x07`` where it is a single character, as are
bytes that are no UTF-8. Of a line that was written over, as progress bars do, the last writing stays.

Nothing but a style lasts longer than a line: a line end also ends a sequence that was begun. So a line is a
function of its own bytes and of the style that it begins with, and output that still grows can be
rendered in pieces, wherever it is cut, by whoever remembers two things: that style, and the bytes of the line
that is still open. The address that a page polls needs to remember even less:

    GET …/output?after=8211&style=b-1-   answers   {"after": 9040, "style": "", "html": "…", "open": "…"}

``after`` is the place in the stream where the open line begins, so that its bytes are read again the next time;
``html`` are the lines that have ended, to be added to those before; ``open`` takes the place of the open line::

    file.shown = after
    html, state = to_html(b"".join(file.news()), AnsiState.from_text(style))
    {"after": file.shown - len(state.open), "style": state.to_text(), "html": html, "open": state.open_html()}
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import groupby, islice
from typing import NamedTuple

from markupsafe import Markup, escape

from ..run.output import MARK
from ..visible import STEERING, visible_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    #: Text, each piece in its style.
    Pieces = Iterable[tuple["Style", str]]

#: Of one line so many characters are shown: megabytes without a line end must not kill a browser.
LONGEST_LINE = 10_000

#: A sequence of styles that is longer was not written to be read, nor is it worth remembering.
LONGEST_STYLING = 100

#: A sequence that steers a terminal. What should have an end (a title, a link) and has none on its line loses only
#: its beginning: nobody can hide the rest of a line. No alternative reaches over another ESC, so this is linear.
_SEQUENCE = re.compile(
    r"""(\x1b(?:
        \[[0-?]*[\ -/]*[@-~]?               # CSI: colours, the cursor
      | \][^\x07\x1b]*(?:\x07|\x1b\\)       # OSC: titles, links
      | [PX^_][^\x1b]*\x1b\\                # DCS, SOS, PM, APC
      | [\ -/]+[0-~]?                       # character sets
      | [0-~]
    ))""",
    re.VERBOSE,
)

#: Puts the cursor back to where the line begins.
_RETURN = re.compile(r"\r|\x1b\[[01]?G")

#: Clears the line, as it stands or from here on: what was written before on it is no longer seen.
_CLEARING = re.compile(r"\x1b\[\??[0-3]?[JK]")

#: Clears also what is left of the cursor.
_CLEARING_BEFORE = re.compile(r"\x1b\[\??[123][JK]")

_STYLING = re.compile(r"\x1b\[([0-9;:]*)m")

_MARK = re.compile(re.escape(MARK.strip().decode()).replace("%d", "([0-9]+)"))

#: Characters that are made visible. A byte that is no UTF-8 was decoded to one of the last.
_HIDDEN = "".join(chr(code) for code in STEERING if chr(code) not in "\n\t") + "\udc80-\udcff"
_ANY_HIDDEN = re.compile(f"[{_HIDDEN}]")
_ALL_HIDDEN = re.compile(f"[{_HIDDEN}]+")
_NOT_AS_IS = re.compile(f"[{_HIDDEN}&<>'\"]")


# -- Styles ------------------------------------------------------------------------------------


class Style(NamedTuple):
    """How text is written.

    :ivar flags: of ``b`` bold, ``d`` dim, ``i`` italic, ``s`` struck out, ``u`` underlined and ``v`` inverse those
        that hold, in this order.
    :ivar colour: of the sixteen, 8 to 15 being the bright ones; None for the page's own.
    :ivar ground: the same of the background.
    """

    flags: str = ""
    colour: int | None = None
    ground: int | None = None


PLAIN = Style()

_ON = {1: "b", 2: "d", 3: "i", 4: "u", 7: "v", 9: "s", 21: "u"}
_OFF = {22: "bd", 23: "i", 24: "u", 27: "v", 29: "s"}

#: The sixteen colours as red, green and blue, for the nearest of them.
_COLOURS = (
    (0, 0, 0), (187, 0, 0), (0, 187, 0), (187, 187, 0), (0, 0, 187), (187, 0, 187), (0, 187, 187), (187, 187, 187),
    (85, 85, 85), (255, 85, 85), (85, 255, 85), (255, 255, 85), (85, 85, 255), (255, 85, 255), (85, 255, 255),
    (255, 255, 255),
)  # fmt: skip


@lru_cache(4096)
def _styled(style: Style, sequence: str) -> Style:
    """Return the style after a sequence, which is the same unless it is one of styles and colours."""
    match = _STYLING.fullmatch(sequence)
    if match is None:
        return style
    codes = iter(match[1].split(";"))
    for code in codes:
        number, *parts = _numbers(code)
        if number in (38, 48, 58):  # (58 is that of the underline.)
            colour = _colour(parts if parts else _parts_of_colour(codes))
            if number == 38:
                style = style._replace(colour=colour)
            elif number == 48:
                style = style._replace(ground=colour)
        elif number == 4 and parts == [0]:
            style = _without(style, "u")
        else:
            style = _changed(style, number)
    return style


def _changed(style: Style, number: int) -> Style:
    """Return the style after one number of a sequence."""
    match number:
        case 0:
            return PLAIN
        case _ if number in _ON:
            return style._replace(flags="".join(sorted({*style.flags, _ON[number]})))
        case _ if number in _OFF:
            return _without(style, _OFF[number])
        case 39:
            return style._replace(colour=None)
        case 49:
            return style._replace(ground=None)
    tens, ones = divmod(number, 10)
    if ones < 8 and tens in (3, 9):
        return style._replace(colour=ones + 8 * (tens == 9))
    if ones < 8 and tens in (4, 10):
        return style._replace(ground=ones + 8 * (tens == 10))
    return style


def _without(style: Style, flags: str) -> Style:
    return style._replace(flags="".join(flag for flag in style.flags if flag not in flags))


def _numbers(code: str) -> list[int]:
    """Return the numbers of one code, ``4`` or ``38:2::255:0:0``; what is left out is 0."""
    return [min(int(number or 0), 9999) for number in code.split(":")]


def _parts_of_colour(codes: Iterator[str]) -> list[int]:
    """Take from the codes those that say which colour: ``5;n`` or ``2;r;g;b``."""
    kind = _numbers(next(codes, ""))[0]
    return [kind, *(_numbers(code)[0] for code in islice(codes, {5: 1, 2: 3}.get(kind, 0)))]


def _colour(parts: list[int]) -> int | None:
    """Return which of the sixteen is nearest to a colour of 256, or of any; None when it is none."""
    match parts:
        case [5, number] if number < 16:
            return number
        case [5, number] if number < 232:
            levels = (number - 16) // 36, (number - 16) // 6 % 6, (number - 16) % 6
            return _nearest(*(level and 55 + 40 * level for level in levels))
        case [5, number] if number < 256:
            return _nearest(*[8 + 10 * (number - 232)] * 3)
        case [2, _, red, green, blue, *_] | [2, red, green, blue]:
            return _nearest(red, green, blue)
    return None


def _nearest(red: int, green: int, blue: int) -> int:
    def distance(number: int) -> int:
        other = _COLOURS[number]
        return (red - other[0]) ** 2 + (green - other[1]) ** 2 + (blue - other[2]) ** 2

    return min(range(16), key=distance)


@lru_cache(4096)
def _tag(style: Style) -> str:
    """Return the tag that begins text of this style; "" where it needs none.

    The classes are ``tb`` to ``tv`` for the flags, ``f0`` to ``f15`` for the colour and ``g0`` to ``g15`` for the
    ground. In the stylesheet grounds are tints on which every colour can be read, so inverse text of one
    colour stands, in the page's own, on the tint of that.
    """
    flags, colour, ground = style
    if "v" in flags and (colour is not None or ground is not None):
        flags, colour, ground = flags.replace("v", ""), ground, colour
    if colour is not None:
        flags = flags.replace("d", "")
    classes = [f"t{flag}" for flag in flags]
    classes += [f"f{colour}"] if colour is not None else []
    classes += [f"g{ground}"] if ground is not None else []
    if not classes:
        return ""
    return f"<span class={classes[0]}>" if len(classes) == 1 else f'<span class="{" ".join(classes)}">'


# -- The stream --------------------------------------------------------------------------------


class AnsiState:
    """Where a stream was cut.

    :ivar style: the one that the open line begins with.
    :ivar open: the bytes of the line that has not ended, less what was written over.
    """

    __slots__ = ("open", "style")

    def __init__(self, style: Style = PLAIN, open: bytes = b"") -> None:
        self.style, self.open = style, open

    def open_html(self) -> Markup:
        """Return the line that has not ended, as it stands."""
        text = self.open.decode("utf-8", "surrogateescape")
        return Markup(_line(text, self.style)[0])

    def to_text(self) -> str:
        """Return the style as text for an address: "" for plain, else such as ``b-1-``."""
        if self.style == PLAIN:
            return ""
        return "-".join("" if part is None else str(part) for part in self.style)

    @classmethod
    def from_text(cls, text: str) -> AnsiState:
        """Read :meth:`to_text` back; what was not written there is plain."""
        match = re.fullmatch(r"(b?d?i?s?u?v?)-(1[0-5]|[0-9])?-(1[0-5]|[0-9])?", text, re.ASCII)
        if match is None:
            return cls()
        colour, ground = (int(number) if number else None for number in match.groups()[1:])
        return cls(Style(match[1], colour, ground))


def to_html(data: bytes, state: AnsiState | None = None) -> tuple[Markup, AnsiState]:
    """Return the lines that ended as HTML, each with its line end, and what the next piece begins with.

    :param data: the next piece of the stream, cut anywhere.
    :param state: what the piece before it has left; None at the beginning.
    """
    state = state or AnsiState()
    ended, line_end, rest = (state.open + data).rpartition(b"\n")
    # (No byte of a character is a line end, however broken it is.)
    text = (ended + line_end).decode("utf-8", "surrogateescape")
    if state.style == PLAIN and _is_simple(text):
        return escape(text), _less_overwritten(rest, PLAIN)
    html, style = [], state.style
    for line in text.split("\n")[:-1]:
        shown, style = _line(line, style)
        html.append(shown)
    html.append("")
    return Markup("\n".join(html)), _less_overwritten(rest, style)


def beginning_of_end(data: bytes, *, most_bytes: int, most_lines: int) -> int:
    """Return where the last part of an output begins, at the beginning of a line where there is one.

    :param most_bytes: so much of it is wanted, and
    :param most_lines: no more lines than these.
    """
    begin = max(len(data) - most_bytes, 0)
    if begin and 0 < (following := data.find(b"\n", begin - 1) + 1) < len(data):
        begin = following
    end = len(data) - data.endswith(b"\n")
    for _ in range(most_lines):
        end = data.rfind(b"\n", begin, end)
        if end < 0:
            return begin
    return end + 1


def _is_simple(text: str) -> bool:
    """Tell whether text needs escaping and nothing else."""
    if _ANY_HIDDEN.search(text) or _MARK.search(text):
        return False
    return len(text) <= LONGEST_LINE or max(map(len, text.split("\n"))) <= LONGEST_LINE


def _less_overwritten(open: bytes, style: Style) -> AnsiState:
    """Return the state of an open line without what is no longer seen of it: a bar that moves must not add up."""
    if b"\r" not in open:
        return AnsiState(style, open)
    # The last writing may yet turn out to be none, the beginning of a sequence, and shows the one before it.
    writings = open.decode("utf-8", "surrogateescape").split("\r")
    last = _last_written(writings[:-1])
    for writing in writings[:last]:
        style = _style_after(writing, style)
    return AnsiState(style, "\r".join(writings[last:]).encode("utf-8", "surrogateescape"))


# -- A line ------------------------------------------------------------------------------------


def _line(line: str, style: Style) -> tuple[str, Style]:
    """Return a line as HTML, and the style after it.

    The mark between head and tail becomes a note; nobody knows the style after it.
    """
    if line.startswith("[") and (mark := _MARK.fullmatch(line)):
        return _note(f"{int(mark[1]):_} bytes left out"), PLAIN
    if "\x1b" not in line and "\r" not in line and "\b" not in line:
        is_short = len(line) <= LONGEST_LINE
        return _wrapped(_escaped(line), _tag(style)) if is_short else _html([(style, line)]), style
    writings = _RETURN.split(line)
    last = _last_written(writings)
    for writing in writings[:last]:
        style = _style_after(writing, style)
    pieces, style = _pieces(writings[last], style)
    html = _html(pieces if "\b" not in writings[last] else _overstruck(pieces))
    for writing in writings[last + 1 :]:
        style = _style_after(writing, style)
    return html, style


def _last_written(writings: list[str]) -> int:
    """Return the number of the writing that is seen: the last that wrote something, if only blanks."""
    for number in range(len(writings) - 1, 0, -1):
        writing = writings[number]
        if "\x1b" in writing and not _CLEARING.search(writing):
            writing = _SEQUENCE.sub("", writing)
        if writing:
            return number
    return 0


def _pieces(writing: str, style: Style) -> tuple[list[tuple[Style, str]], Style]:
    """Return text in its styles, without the sequences, and the style after it."""
    pieces: list[tuple[Style, str]] = []
    for number, part in enumerate(_SEQUENCE.split(writing)):
        if not number % 2:
            if part:
                pieces.append((style, part))
        elif part[-1] == "m" and len(part) <= LONGEST_STYLING:
            style = _styled(style, part)
        elif part[-1] in "JK" and _CLEARING_BEFORE.fullmatch(part):
            pieces.clear()
    return pieces, style


def _style_after(writing: str, style: Style) -> Style:
    return _pieces(writing, style)[1] if "\x1b" in writing else style


def _overstruck(pieces: Pieces) -> Iterator[tuple[Style, str]]:
    """Yield text as it is when each backspace has gone back, and what follows has written over what was there."""
    cells: list[tuple[Style, str]] = []
    place = 0
    for style, text in pieces:
        for part in re.split("(\b+)", text):
            if part.startswith("\b"):
                place = max(place - len(part), 0)
                continue
            cells[place : place + len(part)] = [(style, character) for character in part]
            place += len(part)
    for style, group in groupby(cells, key=lambda cell: cell[0]):
        yield style, "".join(character for _, character in group)


def _html(pieces: Pieces) -> str:
    """Return text in its styles as HTML, as much of it as a line may have."""
    html: list[str] = []
    room = LONGEST_LINE
    for style, group in groupby(pieces, key=lambda piece: piece[0]):
        text = "".join(text for _, text in group)
        if room > 0:
            html.append(_wrapped(_escaped(text[:room]), _tag(style)))
        room -= len(text)
    if room < 0:
        html.append(_note(f"… {-room:_} more characters of this line"))
    return "".join(html)


def _wrapped(html: str, tag: str) -> str:
    return f"{tag}{html}</span>" if tag and html else html


def _escaped(text: str) -> str:
    if not _NOT_AS_IS.search(text):
        return text
    return _ALL_HIDDEN.sub(_made_visible, str(escape(text)))


def _made_visible(match: re.Match[str]) -> str:
    shown = visible_line(match[0]).encode("ascii", "surrogateescape").decode("ascii", "backslashreplace")
    return f"<i>{shown}</i>"


def _note(text: str) -> str:
    """Return what is said of the output, and is no part of it."""
    return f"<em>{text.replace('_', ' ')}</em>"


# -- Tracebacks --------------------------------------------------------------------------------

_HEADER = re.compile(r"[ +|]*(?:Exception Group )?Traceback \(most recent call last\):$")
_FRAME = re.compile(r'[ +|]*  File "(?P<file>[^"\n]+)", line [0-9]+')
_NEXT = re.compile(r'[ +|]*  (?:File "|\[Previous line repeated )')
_CHAIN = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)

#: Of the text of an exception so many lines are shown, and of tracebacks that belong together so many.
LONGEST_MESSAGE = 20
LONGEST_TRACEBACK = 400

#: Only so much of an output is searched for the last traceback.
MOST_SEARCHED = 262_144

#: Folders of code that the site's owner did not write, wherever they lie.
_FOREIGN = ("/site-packages/", "/dist-packages/", "/lib/python")


def highlight_traceback(output: bytes, docroot: str) -> Markup | None:
    """Return the last traceback of an output with those that led to it, or None when there is none.

    The last frame of the site's own code is in a ``<mark>``, and the line that names the exception in a ``<b>``.

    :param docroot: code of files within it is the site's own, but for what was installed there.
    """
    text = output[-MOST_SEARCHED:].decode("utf-8", "surrogateescape").replace("\r\n", "\n")
    lines = _SEQUENCE.sub("", text).split("\n")
    headers = [number for number, line in enumerate(lines) if _HEADER.match(line)]
    if not headers:
        return None
    raised = _after_frames(lines, headers[-1])
    first, end = _first_of_chain(lines, headers), _end_of_message(lines, raised)
    marked = _last_own_frame(lines, range(headers[-1], raised), docroot)
    marked = marked or _last_own_frame(lines, range(first, raised), docroot)
    return Markup("\n").join(_traceback(lines, range(max(first, end - LONGEST_TRACEBACK), end), marked, raised))


def _traceback(lines: list[str], shown: range, marked: range, raised: int) -> Iterator[Markup]:
    number = shown.start
    while number < shown.stop:
        if number == marked.start and marked:
            frame = "\n".join(_cut(lines[each]) for each in marked)
            yield Markup("<mark>{}</mark>").format(_visible(frame))
            number = marked.stop
            continue
        line = _visible(_cut(lines[number]))
        yield Markup("<b>{}</b>").format(line) if number == raised else line
        number += 1


def _visible(text: str) -> Markup:
    return Markup("\n").join(Markup(_escaped(line)) for line in text.split("\n"))


def _cut(line: str) -> str:
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}…"


def _after_frames(lines: list[str], header: int) -> int:
    """Return the number of the line that names the exception, the first behind the frames of a traceback."""
    margin = len(lines[header]) - len(lines[header].lstrip(" +|"))
    number = header + 1
    while number < len(lines) and lines[number][margin : margin + 1] == " ":
        number += 1
    return number


def _end_of_message(lines: list[str], raised: int) -> int:
    """Return where the text of an exception ends: before an empty line, or where it has become too long."""
    end = min(raised + 1, len(lines))
    while end < min(len(lines), raised + LONGEST_MESSAGE) and lines[end].strip():
        end += 1
    return end


def _first_of_chain(lines: list[str], headers: list[int]) -> int:
    """Return where the tracebacks begin of which the last is the end, or a part of a group."""
    first = headers[-1]
    for header in reversed(headers[:-1]):
        between = [line.strip(" +|") for line in lines[max(first - 3, header) : first]]
        is_in_group = lines[first].startswith("   ")
        if not is_in_group and not any(line in _CHAIN for line in between):
            break
        first = header
    return first


def _last_own_frame(lines: list[str], within: range, docroot: str) -> range:
    """Return the lines of the last frame of the site's own code; an empty range when there is none."""
    for number in reversed(within):
        match = _FRAME.match(lines[number])
        if match and _is_own(match["file"], docroot):
            end = next((each for each in range(number + 1, within.stop) if _NEXT.match(lines[each])), within.stop)
            return range(number, end)
    return range(0)


def _is_own(file: str, docroot: str) -> bool:
    inside = file.removeprefix(docroot.rstrip("/"))
    return inside != file and inside.startswith("/") and not any(folder in inside for folder in _FOREIGN)
