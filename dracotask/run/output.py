"""The output of a run: kept as it comes, head and tail when it is too much.

The file holds the first half of ``limit`` as it was written, then a line that says how many
bytes were left out, then the newest half. A reader sees the tail move while the run goes on.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: Stands between head and tail.
MARK = b"\n[dracotask: %d bytes left out]\n"

#: What makes a terminal forget the line at which its cursor is, and what stands behind the cursor.
_WIPE, _WIPE_REST = b"\r\033[K", b"\033[K"


class RunOutput:
    """Keeps what a body prints in the file ``path``, at most ``limit`` bytes of it.

    There is no file before there is output. A disk that is full costs output, and never the run.

    :param tee: a descriptor that gets everything as well, a terminal or cron's mail; None for none. It is
        never waited for: a pager that nobody scrolls must not keep the time limit from striking.
    :ivar total: bytes that came so far; offsets count these.
    """

    __slots__ = (
        "_descriptor", "_dirty", "_ends_line", "_footer", "_half", "_has_footer", "_head", "_owed", "_path", "_room",
        "_tail", "tee", "total",
    )  # fmt: skip

    def __init__(self, path: str, limit: int, *, tee: int | None = None) -> None:
        self._half = max(limit // 2, 1)
        self._head = 0  # bytes of it in the file
        self._room = self._half  # bytes that it will still take
        self._tail = bytearray()
        self._dirty = False
        self._owed = bytearray()  # to the tee
        self._ends_line = True  # what the tee has got
        self._footer, self._has_footer = b"", False
        self.tee = tee
        self.total = 0
        self._path, self._descriptor = path, -1
        try:
            os.unlink(path)
        except OSError:
            pass  # as it should be

    def write(self, data: bytes) -> None:
        """Take in what came: the head goes to the file at once, the rest to the tail."""
        self.total += len(data)
        if self.tee is not None:
            self._wipe_footer()
            self._owed += data
            self.pass_on()
            if self._footer:
                self._draw_footer()
        wanted = data[: self._room]
        written = self._write_at(self._head, wanted)
        self._head += written
        # The head ends where a full disk ends it: what comes later may find room again, and must not follow a hole.
        self._room = self._room - written if written == len(wanted) else 0
        if len(data) > written:
            self._tail += data[written:]
            self._dirty = True
            if len(self._tail) > 2 * self._half:
                del self._tail[: -self._half]

    def flush(self) -> None:
        """Bring the tail in the file up to date."""
        if not self._dirty:
            return
        tail = self._tail[-self._half :]
        left_out = self.total - self._head - len(tail)
        text = (MARK % left_out if left_out else b"") + bytes(tail)
        written = self._write_at(self._head, text)
        self._dirty = written < len(text)
        try:
            os.ftruncate(self._descriptor, self._head + written)
        except OSError:
            pass

    def close(self) -> None:
        """Write what is left and let the file go."""
        self.show(b"")
        self.flush()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write_at(self, offset: int, data: bytes) -> int:
        """Write to the file and return how many bytes it took; fewer than all when the disk is full."""
        done = 0
        try:
            if data and self._descriptor < 0:
                self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            while done < len(data):
                done += os.pwrite(self._descriptor, data[done:], offset + done)
        except OSError:
            pass
        return done

    # -- The tee ---------------------------------------------------------------------------

    def is_behind(self) -> bool:
        """Tell whether the tee has not taken all that came: a good moment to read no more."""
        return bool(self._owed)

    def pass_on(self, patience: float = 0) -> None:
        """Give the tee what it takes now.

        :param patience: seconds to wait for it to take anything.
        """
        import select  # by now the watch has it; at the top it would be waited for before the body begins

        while self._owed and self.tee is not None and _is_writable(self.tee, patience):
            try:
                # Of a pipe that is ready so much is taken without waiting.
                taken = os.write(self.tee, self._owed[: select.PIPE_BUF])
                self._ends_line = self._owed[taken - 1 : taken] == b"\n"
                del self._owed[:taken]
            except OSError:
                self.tee = None  # whoever listened has gone
                self._owed.clear()

    def show(self, footer: bytes) -> None:
        """Keep a line below what the tee, a terminal, gets: redrawn in place, and gone before output comes.

        :param footer: it must not be wider than the terminal; b"" for none any more.
        """
        if footer != self._footer or not self._has_footer:
            self._footer = footer
            self._draw_footer()

    def _draw_footer(self) -> None:
        """Draw the footer, if the cursor is at the beginning of a line; an open line of output is left alone."""
        if not self._footer:
            self._wipe_footer()
            self.pass_on()
        elif self.tee is not None and self._ends_line and not self._owed and _is_writable(self.tee, 0):
            try:
                os.write(self.tee, b"\r" + self._footer + _WIPE_REST)
                self._has_footer = True
            except OSError:
                self.tee = None

    def _wipe_footer(self) -> None:
        if self._has_footer:
            self._owed += _WIPE
            self._has_footer = False

    def pass_on_all(self, is_enough: Callable[[], bool]) -> None:
        """Give the tee all there is, at its own pace, unless somebody has had enough."""
        while self.is_behind() and not is_enough():
            self.pass_on(patience=0.2)


def _is_writable(descriptor: int, patience: float) -> bool:
    import select

    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(patience * 1000))
