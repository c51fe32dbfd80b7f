"""The default store: one SQLite file in the state folder, for one host.

Measured before chosen (docs/benchmarks.rst): WAL so that readers never wait, FULL so that
a claim outlives a power cut (NORMAL would let a fire time run twice), BEGIN IMMEDIATE
because a deferred transaction that turns into a writer fails at once, whatever its patience.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time

from ..errors import StoreBusy, StoreMissing, StoreUnusable
from .sql import SCHEMA_VERSION, SQLStore


def _import_lean() -> Any:
    """Import what is inside ``sqlite3``, without what only its other users need.

    ``sqlite3`` adds converters of dates (datetime, collections); times are text here. And the C module
    asks for ``functools``, with ``collections`` behind it, for the sake of one function that is written
    in C too. Together that is a quarter of a bare interpreter's start (benchmarks/cold_run.py), paid by
    every run. A program that has functools already, as any but a run's has, sees none of this.
    """
    if "functools" in sys.modules:
        return __import__("_sqlite3")
    in_c = __import__("_functools")
    stand_in: Any = type(sys)("functools")
    stand_in.lru_cache = lambda size: lambda function: in_c._lru_cache_wrapper(function, size, False, tuple)
    sys.modules["functools"] = stand_in
    try:
        return __import__("_sqlite3")
    finally:
        del sys.modules["functools"]


TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Any, Self
else:
    sqlite3 = _import_lean()

#: Seconds to wait for a lock that another process holds.
PATIENCE = 30.0

#: A write-ahead log of up to so many bytes, some ten runs, is left to the next process.
SMALL_WAL = 1 << 19

#: Connections that only the end of the process closes; a destructor would do it sooner.
_LEFT_OPEN: list[object] = []


class SQLiteStore(SQLStore):
    """Keep everything in the SQLite file ``path``.

    :param path: the file; made on the first opening, in a folder that exists.
    :param patience: seconds to wait while another process holds the lock.
    """

    def __init__(self, path: str, *, patience: float = PATIENCE) -> None:
        self.path, self.patience = path, patience
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._create = True
        self._transaction = _Transaction(self)

    # -- Opening ---------------------------------------------------------------------------

    def open(self, *, create: bool = True) -> Self:
        self._create = create
        if self._connection is None:
            if not os.path.exists(self.path):
                self._make_file()
            self._connect()
        return self

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def leave(self) -> None:
        # The last to close a WAL database copies it home, syncs it twice and unlinks two files: for a single run that
        # is a tenth of its cost. The next to open goes on with a small WAL as it is, as after any crash.
        if _size(self.path + "-wal") > SMALL_WAL:
            self.close()
        else:
            _LEFT_OPEN.append(self._connection)
            self._connection = None

    def wait_at_most(self, seconds: float | None) -> None:
        patience = self.patience if seconds is None else seconds
        if self._connection is not None:
            self._connection.execute(f"PRAGMA busy_timeout = {patience * 1000:.0f}")

    def _connect(self) -> None:
        try:
            self._connection = _connect(self.path, self.patience)
            self._inode = os.stat(self.path).st_ino
            self._connection.execute("PRAGMA synchronous = FULL")
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise _translated(error, self.path) from error
        if version != SCHEMA_VERSION:
            self.close()
            raise StoreUnusable(
                f"{self.path} is of schema version {version}, and this dracotask reads version {SCHEMA_VERSION}."
                " Use the version of dracotask that made it, or move the file away to begin anew."
            )

    def _make_file(self) -> None:
        """Build an empty database aside and link it into place: of many openers one comes first."""
        if not self._create:
            raise StoreMissing(f"{self.path} does not exist yet: no task of this site has been looked at so far.")
        try:
            folder = self._lock_folder()
            try:
                if not os.path.exists(self.path):
                    self._make_alone()
            finally:
                os.close(folder)
        except (sqlite3.Error, OSError) as error:
            raise _translated(error, self.path) from error

    def _make_alone(self) -> None:
        aside = f"{self.path}.new.{os.getpid()}"
        try:
            _remove(aside)  # left by a process of our number that was killed here
            _build(aside)
            # The log of a database that was deleted without it would be read into the new one.
            _remove(f"{self.path}-wal")
            _remove(f"{self.path}-shm")
            os.link(aside, self.path)
        finally:
            _remove(aside)

    def _lock_folder(self) -> int:
        """Return a descriptor that keeps other makers out until it is closed."""
        folder = os.open(os.path.dirname(self.path) or ".", os.O_RDONLY)
        until = time.monotonic() + self.patience
        while True:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return folder
            except BlockingIOError:
                if time.monotonic() >= until:
                    os.close(folder)
                    raise StoreBusy(f"{self.path} is being made by another process, and that takes long.") from None
            time.sleep(0.01)

    # -- Statements ------------------------------------------------------------------------

    def _execute(self, statement: str, values: Sequence[Any] = ()) -> Any:
        if not self._transaction.depth:
            self._follow_file()
        if self._connection is None:
            raise StoreUnusable(f"{self.path} is not open.")
        try:
            cursor = self._connection.cursor(_Cursor)
            cursor.path = self.path
            return cursor.execute(statement, values)
        except sqlite3.Error as error:
            raise _translated(error, self.path) from error

    def transaction(self) -> _Transaction:
        return self._transaction

    def _follow_file(self) -> None:
        """Open anew when the file is another by now: writing to a deleted one would be writing to nowhere."""
        if self._connection is None:
            return
        try:
            inode = os.stat(self.path).st_ino
        except OSError:
            inode = 0
        if inode != self._inode:
            self.close()
            self.open(create=self._create)


class _Cursor(sqlite3.Cursor):
    """A cursor whose later rows fail in the package's own errors, as the first one does."""

    path = ""

    def __next__(self) -> Any:
        try:
            return super().__next__()
        except sqlite3.Error as error:
            raise _translated(error, self.path) from error

    def fetchone(self) -> Any:
        return next(self, None)

    def fetchall(self) -> list[Any]:
        return list(self)


class _Transaction:
    """``with`` of a store: BEGIN IMMEDIATE at the outermost door, COMMIT or ROLLBACK on leaving it."""

    def __init__(self, store: SQLiteStore) -> None:
        self.store = store
        self.depth = 0

    def __enter__(self) -> None:
        if not self.depth:
            self.store._execute("BEGIN IMMEDIATE")
        self.depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.depth > 1:
            self.depth -= 1
            return
        if kind is not None:
            self.store._listeners = None  # it may have been read within
        try:
            self.store._execute("COMMIT" if kind is None else "ROLLBACK")
        except Exception:
            # A full disk can refuse the COMMIT and leave the transaction open, or close it by itself.
            if kind is None:
                self._roll_back()
                raise
        finally:
            self.depth = 0

    def _roll_back(self) -> None:
        connection = self.store._connection
        if connection is not None and connection.in_transaction:
            connection.rollback()


def _connect(path: str, patience: float) -> sqlite3.Connection:
    # The path as a URI in mode rw: a file that has just vanished is not quietly made anew, without its tables.
    uri = "file:" + path.replace("%", "%25").replace("?", "%3f").replace("#", "%23") + "?mode=rw"
    return sqlite3.connect(uri, timeout=patience, isolation_level=None, uri=True)


def _build(path: str) -> None:
    from .schema import SCHEMA

    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    os.close(descriptor)
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        for statement in SCHEMA:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    finally:
        connection.close()


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _remove(path: str) -> None:
    if os.path.exists(path):
        os.unlink(path)


def _translated(error: Exception, path: str) -> StoreBusy | StoreUnusable:
    text = str(error)
    if "locked" in text or "busy" in text:
        return StoreBusy(f"{path} is locked by another process ({text}).")
    if "malformed" in text or "not a database" in text:
        return StoreUnusable(f"{path} is damaged ({text}). Move it away, with its -wal and -shm, to begin anew.")
    return StoreUnusable(f"{path} cannot be used: {text}.")
