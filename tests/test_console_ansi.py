"""Output as HTML: what a terminal would show of it, whatever it is, and however it is cut."""

from __future__ import annotations

import re
import traceback
from html import unescape
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from dracotask.console.ansi import (
    LONGEST_LINE,
    LONGEST_TRACEBACK,
    AnsiState,
    beginning_of_end,
    highlight_traceback,
    to_html,
)
from dracotask.report.outputfile import OutputFile
from dracotask.run.output import RunOutput


def shown(data: bytes) -> str:
    """Return all of an output as HTML, with the line that is open."""
    html, state = to_html(data)
    return html + state.open_html()


def in_pieces(data: bytes, cuts: list[int]) -> str:
    """Return the same, rendered piece by piece with the state handed on."""
    html, state = [], None
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for begin, end in pairwise(places):
        piece, state = to_html(data[begin:end], state)
        html.append(piece)
    return Markup().join(html) + state.open_html()


# -- Styles ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "html"),
    [
        (b"\x1b[31mred\x1b[0m plain", "<span class=f1>red</span> plain"),
        (b"\x1b[1;32mbold green\x1b[m", '<span class="tb f2">bold green</span>'),
        (b"\x1b[94;107mbright\x1b[39;49m", '<span class="f12 g15">bright</span>'),
        (b"\x1b[2;3;4;9mall\x1b[22;23;24;29m", '<span class="td ti ts tu">all</span>'),
        (b"\x1b[4:3mcurly\x1b[4:0m straight", "<span class=tu>curly</span> straight"),
        # Inverse: the text's colour becomes that of the ground, where it has one.
        (b"\x1b[7minverse\x1b[27m", "<span class=tv>inverse</span>"),
        (b"\x1b[7;31minverse\x1b[0m", "<span class=g1>inverse</span>"),
        # Of 256 colours, and of all, the nearest of the sixteen; in both ways of writing.
        (b"\x1b[38;5;9mx\x1b[0m", "<span class=f9>x</span>"),
        (b"\x1b[38;5;196mx\x1b[0m", "<span class=f1>x</span>"),
        (b"\x1b[48;5;244mx\x1b[0m", "<span class=g8>x</span>"),
        (b"\x1b[38;2;250;10;10mx\x1b[0m", "<span class=f1>x</span>"),
        (b"\x1b[38:2::0:190:0mx\x1b[0m", "<span class=f2>x</span>"),
        # That of the underline is none of the text's, nor is what follows it.
        (b"\x1b[58;5;1;1mx\x1b[0m", "<span class=tb>x</span>"),
        # What is cut short, or unknown, changes nothing else.
        (b"\x1b[1;38;5mx\x1b[0m", "<span class=tb>x</span>"),
        (b"\x1b[>4;2m\x1b[?25l\x1b[999999;1mx\x1b[0m", "<span class=tb>x</span>"),
        # One span for neighbours of one style, and none for nothing.
        (b"\x1b[31ma\x1b[31mb\x1b[0m\x1b[32m\x1b[0m", "<span class=f1>ab</span>"),
    ],
)
def test_styles_become_classes(data, html):
    assert shown(data) == html


def test_a_style_lasts_over_line_ends_and_each_line_has_its_own_span():
    html, state = to_html(b"\x1b[31mone\ntwo\x1b[0m\nthree\n")
    assert html == "<span class=f1>one</span>\n<span class=f1>two</span>\nthree\n"
    assert state.to_text() == ""


@pytest.mark.parametrize(
    ("data", "html"),
    [
        (b"\x1b]0;a title\x07text", "text"),
        (b"\x1b]8;;https://example.org\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"\x1bP1$r0m\x1b\\\x1b_apc\x1b\\text", "text"),
        (b"\x1b[2J\x1b[H\x1b[?1049h\x1b(B\x1b=\x1bMtext\x1b[0 q", "text"),
        # What has no end on its line hides nothing of it.
        (b"\x1b]0;a title that never ends <b>", "0;a title that never ends &lt;b&gt;"),
        (b"text\x1b[31", "text"),
    ],
)
def test_what_else_steers_a_terminal_is_taken_away(data, html):
    assert shown(data) == html


# -- Lines that are written over ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "html"),
    [
        (b" 10%|# |\r 50%|##|\r100%|##|\n", "100%|##|\n"),
        (b"windows\r\n", "windows\n"),
        (b"carriage returns\r\r\r\n", "carriage returns\n"),
        # A bar that is cleared is gone, be it by blanks or by a sequence.
        (b"50%\r   \rdone\n", "done\n"),
        (b"50%\r\x1b[K\n", "\n"),
        (b"50%\x1b[2K\x1b[1Gdone\n", "done\n"),
        # Changing the style is not writing.
        (b"\x1b[32m100%\r\x1b[0m\nplain", "<span class=f2>100%</span>\nplain"),
        # Neither is the style lost that was set in what was written over.
        (b"\x1b[32m50%\r100%\x1b[0m\n", "<span class=f2>100%</span>\n"),
        # Backspace goes back, and what follows writes over what was there.
        (b"|\b/\b-\b done", " done"),
        (b"10%\b\b\b20%", "20%"),
        (b"a\b\b\bb", "b"),
        (b"\x1b[31mab\b\x1b[32mc\x1b[0m", "<span class=f1>a</span><span class=f2>c</span>"),
    ],
)
def test_of_a_line_that_is_written_over_the_last_writing_stays(data, html):
    assert shown(data) == html


def test_a_bar_that_never_ends_its_line_does_not_add_up():
    # Given a progress bar that has moved ten thousand times
    state = None
    for number in range(10_000):
        html, state = to_html(b"\r\x1b[36m%5d/10000" % number, state)
        assert html == ""

    # Then only its last two writings are remembered
    assert len(state.open) < 40
    assert state.open_html() == "<span class=f6> 9999/10000</span>"


# -- What is shown as such ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "html"),
    [
        (b"a\x07\x00b\ttab", r"a<i>\x07\x00</i>b" + "\ttab"),
        (b"bad \xff\xfe, good \xc3\xa9", r"bad <i>\xff\xfe</i>, good é"),
        ("turned \u202egnp.exe".encode(), r"turned <i>\u202e</i>gnp.exe"),
        (b"surrogate \xed\xa0\x80", r"surrogate <i>\xed\xa0\x80</i>"),
        ("C1 \x9b31m, a line \u2028 end".encode(), r"C1 <i>\x9b</i>31m, a line <i>\u2028</i> end"),
        (b"\x1b\x1b[31mx", r"<i>\x1b</i><span class=f1>x</span>"),
        (b"<script>'\"&amp;", "&lt;script&gt;&#39;&#34;&amp;amp;"),
    ],
)
def test_what_is_no_text_is_shown_as_what_it_is(data, html):
    assert shown(data) == html


def test_a_line_of_megabytes_is_cut_with_a_note():
    # Given ten megabytes without a line end, and a line after it
    html, state = to_html(b"\x1b[31m" + b"x" * 10_000_000 + b"\x1b[0m\nnext")

    # Then its beginning is shown, how much more there is, and the line after it in its own style
    assert html == f"<span class=f1>{'x' * LONGEST_LINE}</span><em>… 9 990 000 more characters of this line</em>\n"
    assert state.open_html() == "next"


def test_the_mark_between_head_and_tail_is_a_note_and_ends_the_style(tmp_path):
    # Given an output of which a part was left out
    output = RunOutput(str(tmp_path / "run.log"), 40)
    output.write(b"\x1b[31m" + b"a" * 1_234_567 + b"tail\n")
    output.close()

    # When it is shown
    html = shown((tmp_path / "run.log").read_bytes())

    # Then there is a note, and nobody claims to know the style after it
    assert html == f"<span class=f1>{'a' * 15}</span>\n<em>1 234 537 bytes left out</em>\n{'a' * 15}tail\n"


# -- Pieces ------------------------------------------------------------------------------------

#: What makes a difference, in any order: bytes of everything that is known.
SCRAPS = st.sampled_from([
    b"\n", b"\r", b"\r\n", b"\b", b"\t", b"\x1b", b"[", b"]", b"0", b"1;31", b"m", b"\x1b[0m", b"\x1b[31m",
    b"\x1b[7;44m", b"\x1b[38;5;200m", b"\x1b[K", b"\x1b[2K", b"\x1b[G", b"\x1b]8;;x\x07", b"\x1b\\", b"\x07", b"a",
    b" ", b"<b>&", "é".encode(), "🎉".encode(), "\u202e".encode(), b"\xff", b"\xe2\x82",
    b"\n[dracotask: 12 bytes left out]\n",
])  # fmt: skip
OUTPUTS = st.one_of(st.lists(SCRAPS, max_size=40).map(b"".join), st.binary(max_size=80))

ALLOWED = re.compile(r'<span class=(?:\w+|"\w+(?: \w+)+")>|</span>|</?i>|</?em>')


@given(OUTPUTS)
@settings(max_examples=200)
def test_no_output_can_be_anything_but_harmless(data):
    # When it is shown
    html = shown(data)

    # Then there are no tags but ours, none within another, and nothing that steers
    assert "<" not in ALLOWED.sub("", html)
    assert re.fullmatch(r"(?:[^<]|<(span)[^>]*>(?:[^<]|<i>[^<]*</i>)*</\1>|<(i|em)>[^<]*</\2>)*", html)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", html)
    assert html.count("\n") == data.count(b"\n")


@given(OUTPUTS, st.lists(st.integers(0, 1000), max_size=12))
@settings(max_examples=300)
@example(b"abc\r\n", [4])
@example("🎉\x1b[31mx\n".encode(), [2, 6])
@example(b"abc\r\x1b[G\x1b[K\r", [5, 6])
def test_pieces_join_to_the_same_wherever_the_output_is_cut(data, cuts):
    assert in_pieces(data, cuts) == shown(data)


@given(OUTPUTS, st.lists(st.integers(0, 1000), max_size=12))
@settings(max_examples=150)
def test_whoever_remembers_a_place_and_a_style_can_go_on_from_there(data, cuts):
    # Given a page that remembers no more of the output than an address can hold
    after, style, done, opened = 0, "", Markup(), Markup()

    # When it asks again and again, while the output grows
    for end in [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]:
        html, state = to_html(data[after:end], AnsiState.from_text(style))
        after, style = end - len(state.open), state.to_text()
        done, opened = done + html, state.open_html()

    # Then it has what the whole would be
    assert done + opened == shown(data)


def test_a_page_follows_a_file_whose_tail_moves(tmp_path):
    # Given a run that prints more than is kept, and a page that was there from the beginning
    path = tmp_path / "run.log"
    output = RunOutput(str(path), 2000)
    after, style, done, opened = 0, "", Markup(), Markup()

    # When the page looks between every two lines
    for number in range(200):
        output.write(b"\x1b[3%dmline %d\x1b[0m\n" % (number % 8, number))
        output.flush()
        file = OutputFile(str(path), 2000)
        file.shown = after
        html, state = to_html(b"".join(file.news()), AnsiState.from_text(style))
        after, style = file.shown - len(state.open), state.to_text()
        done, opened = done + html, state.open_html()
    output.close()

    # Then it has every line, although the file has not
    assert re.findall(r"line (\d+)", done + opened) == [str(number) for number in range(200)]
    assert b"left out" in path.read_bytes()
    assert "left out" not in done


@pytest.mark.parametrize("text", ["", "b-1-", "bdisuv-15-0", "-3-", "--7"])
def test_a_style_is_text_in_an_address(text):
    assert AnsiState.from_text(text).to_text() == text


@pytest.mark.parametrize("text", ["x", "b-16-", "b-1", "vb-1-2", "b-1-2\n", "-٣-", "<script>"])
def test_an_address_that_nobody_wrote_means_plain(text):
    assert AnsiState.from_text(text).to_text() == ""


# -- The end of it -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "most_bytes", "most_lines", "rest"),
    [
        (b"one\ntwo\nthree\n", 100, 10, b"one\ntwo\nthree\n"),
        (b"one\ntwo\nthree\n", 100, 2, b"two\nthree\n"),
        (b"one\ntwo\nthree", 100, 2, b"two\nthree"),
        # In the middle of a line it begins with the next one,
        (b"one\ntwo\nthree\n", 9, 10, b"three\n"),
        (b"one\ntwo\nthree\n", 10, 10, b"two\nthree\n"),
        # unless there is none.
        (b"one long line\n", 6, 10, b" line\n"),
        (b"", 10, 10, b""),
    ],
)
def test_the_last_part_of_an_output_begins_with_a_line(data, most_bytes, most_lines, rest):
    assert data[beginning_of_end(data, most_bytes=most_bytes, most_lines=most_lines) :] == rest


# -- Tracebacks --------------------------------------------------------------------------------

DOCROOT = "/srv/shop"


def frame(file: str, line: int, source: str) -> str:
    return f'  File "{file}", line {line}, in work\n    {source}\n    ^^^^\n'


def plain(html: str) -> str:
    return unescape(re.sub("<[^>]*>", "", html))


def test_the_last_traceback_is_found_and_the_last_frame_of_ones_own_code_marked():
    # Given an output with two tracebacks, the last of which ends in a library within the docroot
    first = f"Traceback (most recent call last):\n{frame(f'{DOCROOT}/old.py', 1, 'old()')}OSError: caught\n"
    last = (
        "Traceback (most recent call last):\n"
        + frame(f"{DOCROOT}/__tasks__.py", 3, "self.send()")
        + frame(f"{DOCROOT}/mail.py", 9, "[send(x) for x in '<b>']")
        + frame(f"{DOCROOT}/.venv/lib/python3.11/site-packages/smtp.py", 70, "raise Gone(x)")
        + frame("/usr/lib/python3.11/socket.py", 8, "connect()")
        + "smtp.Gone: <nobody> is there\n  on two lines\n"
    )
    output = f"before\n{first}\nbetween\n\x1b[31m{last}\x1b[0m\nafterwards\n"

    # When it is looked for
    html = highlight_traceback(output.encode(), DOCROOT)

    # Then it is there in full and alone, with one's own last frame marked, and the exception
    assert plain(html) == last.rstrip("\n")
    (marked,) = re.findall("<mark>(.*?)</mark>", html, re.DOTALL)
    assert unescape(marked) == frame(f"{DOCROOT}/mail.py", 9, "[send(x) for x in '<b>']").rstrip("\n")
    assert re.findall("<b>(.*?)</b>", html) == ["smtp.Gone: &lt;nobody&gt; is there"]


def raise_from_another() -> None:
    try:
        raise KeyError("the cause")
    except KeyError as error:
        raise ValueError("what came of it") from error


def raise_within_another() -> None:
    try:
        raise KeyError("the first")
    except KeyError:
        raise ValueError("the second")  # noqa: B904 (that is what is tested)


def raise_group() -> None:
    try:
        raise_from_another()
    except ValueError as error:
        raise ExceptionGroup("several", [error, TypeError("another")]) from None


def recurse() -> None:
    recurse()


@pytest.mark.parametrize("fails", [raise_from_another, raise_within_another, raise_group, recurse])
def test_what_python_prints_of_a_chain_is_shown_as_a_whole(fails):
    # Given what Python itself prints of an exception
    try:
        fails()
    except Exception:
        printed = traceback.format_exc()

    # When this file is one's own code
    html = highlight_traceback(f"something else\n{printed}".encode(), __file__.rpartition("/")[0])

    # Then all of it is shown, and one frame marked
    assert plain(html) == printed.rstrip("\n")
    assert html.count("<mark>") == 1


def test_an_output_without_a_traceback_has_none():
    assert highlight_traceback(b"Traceback: there was one\n", DOCROOT) is None
    assert highlight_traceback(b"", DOCROOT) is None


def test_a_traceback_of_thousands_of_lines_is_shown_from_its_end():
    frames = "".join(frame(f"{DOCROOT}/a.py", number, "a()") for number in range(1000))
    html = highlight_traceback(f"Traceback (most recent call last):\n{frames}ValueError: x\n".encode(), DOCROOT)
    assert plain(html).count("\n") == LONGEST_TRACEBACK - 1
    assert html.endswith("<b>ValueError: x</b>")


LINES = st.sampled_from([
    "Traceback (most recent call last):", "  + Exception Group Traceback (most recent call last):", "", "    x = 1",
    "    | Traceback (most recent call last):", f'  File "{DOCROOT}/a.py", line 1, in x', '  File "/b.py", line 1',
    "During handling of the above exception, another exception occurred:", "ValueError: <x>", "\x1b[31m", "\x00\udcff",
    "  [Previous line repeated 9 more times]", f'    |   File "{DOCROOT}/a.py", line 1, in x',
])  # fmt: skip


@given(st.one_of(st.lists(LINES).map("\n".join), st.text()))
@settings(max_examples=150)
def test_no_output_breaks_the_search_for_a_traceback(text):
    html = highlight_traceback(text.encode("utf-8", "surrogatepass"), DOCROOT)
    assert html is None or "<" not in re.sub("</?(?:mark|b|i)>", "", html)
    assert html is None or not re.search("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]", html)
