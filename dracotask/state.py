"""The state folder: where a site keeps its store, its locks and its runs' output.

Everything in it is reached by path and held by kernel locks (flock(2), never lockf:
closing any descriptor of a file drops all POSIX locks of the process). A lock lives
exactly as long as its descriptor, so no crash can leave one stuck.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from _thread import get_ident

from .clock import UTC, datetime, rfc3339, utc_now
from .errors import StateError, WrongUser

#: The folder's name within the docroot, unless the key ``state`` moves it.
FOLDER = ".dracotask"
TASK_FILE = "__tasks__.py"
CONFIG_FILE = "dracotask.toml"

#: A tick runs that often in any case (seconds), so that nothing depends on one process's care alone.
TICK_AT_LEAST_EVERY = 60.0

#: Who looks for what is due: a request, the thread between two requests, cron (or whatever else has no terminal), and
#: somebody by hand.
LOOKERS = ("request", "tick", "cron", "command")

#: When the site's log grows beyond this many bytes its older half makes room.
LOG_LIMIT = 1 << 20

#: A sentence in it that is longer than this (letters) is cut: a task file may say what it likes.
LONGEST_LINE = 4000

#: flock on these means little or nothing, and SQLite's WAL corrupts; from mountinfo(5).
NETWORK_FILE_SYSTEMS = (
    "nfs", "cifs", "smb", "9p", "ceph", "gluster", "lustre", "fuse.sshfs", "fuse.gluster", "fuse.ceph",
    "afs", "ocfs2", "gfs",
)  # fmt: skip


class State:
    """The state folder ``path`` of the site at ``docroot``. Nothing is touched before a method is called."""

    __slots__ = ("docroot", "path")

    def __init__(self, docroot: str, path: str | None = None) -> None:
        self.docroot = docroot
        self.path = path or os.path.join(docroot, FOLDER)

    # -- What lies where -------------------------------------------------------------------

    @property
    def task_file(self) -> str:
        return os.path.join(self.docroot, TASK_FILE)

    @property
    def config_file(self) -> str:
        return os.path.join(self.docroot, CONFIG_FILE)

    @property
    def config_in_force(self) -> str:
        return os.path.join(self.path, "config")

    @property
    def store_file(self) -> str:
        return os.path.join(self.path, "state.db")

    @property
    def next_file(self) -> str:
        return os.path.join(self.path, "next")

    @property
    def tick_lock(self) -> str:
        return os.path.join(self.path, "tick.lock")

    @property
    def tick_errors(self) -> str:
        return os.path.join(self.path, "tick.err")

    @property
    def traffic_file(self) -> str:
        return os.path.join(self.path, "traffic")

    @property
    def seen_folder(self) -> str:
        return os.path.join(self.path, "seen")

    @property
    def hindrance_file(self) -> str:
        return os.path.join(self.path, "failed")

    @property
    def load_lock(self) -> str:
        return os.path.join(self.path, "load.lock")

    @property
    def compiled_file(self) -> str:
        return os.path.join(self.path, f"tasks.{sys.implementation.cache_tag}")

    @property
    def load_output(self) -> str:
        return os.path.join(self.path, "load.log")

    @property
    def log_file(self) -> str:
        return os.path.join(self.path, "log")

    @property
    def listeners_lock(self) -> str:
        return os.path.join(self.path, "listeners.lock")

    @property
    def alerts_lock(self) -> str:
        return os.path.join(self.path, "alerts.lock")

    @property
    def listeners_output(self) -> str:
        return os.path.join(self.path, "listeners.out")

    @property
    def listeners_log(self) -> str:
        return os.path.join(self.path, "listeners.log")

    @property
    def console_file(self) -> str:
        return os.path.join(self.path, "console")

    def slot(self, number: int) -> str:
        return os.path.join(self.path, "slots", str(number))

    @property
    def runs_folder(self) -> str:
        return os.path.join(self.path, "runs")

    def output_file(self, run_id: str, attempt: int = 1) -> str:
        further = f".{attempt}" if attempt > 1 else ""
        return os.path.join(self.path, "runs", f"{run_id}{further}.log")

    def progress_file(self, run_id: str) -> str:
        return os.path.join(self.path, "runs", run_id + ".progress")

    def checkpoint_file(self, run_id: str) -> str:
        return os.path.join(self.path, "runs", run_id + ".checkpoint")

    def run_lock(self, run_id: str) -> str:
        return os.path.join(self.path, "runs", run_id + ".lock")

    # -- The folder itself -----------------------------------------------------------------

    def exists(self) -> bool:
        """Tell whether the folder is there, and whole."""
        return os.path.isdir(self.runs_folder)

    def check_user(self) -> None:
        """Refuse to go on as anybody but the folder's owner: one site, one user.

        :raises WrongUser: with the command that would be right.
        """
        try:
            owner = os.stat(self.path).st_uid
        except FileNotFoundError:
            owner = os.stat(self.docroot).st_uid
            # Root works where it made a state folder; to make one in somebody's site by the way would lock them out.
            if os.geteuid() != 0 or owner == 0:
                return
        except OSError as error:
            raise StateError(f"The state folder {self.path} cannot be reached: {error.strerror}.") from error
        if owner != os.geteuid():
            raise WrongUser(self.path if os.path.exists(self.path) else self.docroot, owner)

    def create(self) -> None:
        """Make the folder with what belongs in it, if it is not there yet.

        :raises WrongUser: the folder, or the site, is another user's.
        :raises StateError: it cannot be made or written, or lies on a network file system.
        """
        self.check_user()
        if self.exists():
            return
        try:
            os.makedirs(self.path, 0o700, exist_ok=True)
            self._refuse_network()
            for name, text in ((".gitignore", "*\n"), (".htaccess", "Require all denied\n")):
                _write_once(os.path.join(self.path, name), text)
            os.makedirs(os.path.join(self.path, "slots"), 0o700, exist_ok=True)
            os.makedirs(self.runs_folder, 0o700, exist_ok=True)
        except StateError:
            raise  # it is an OSError too, and knows better
        except OSError as error:
            raise StateError(
                f"The state folder {self.path} cannot be made: {error.strerror}. Let root make it with"
                f" 'dracotask {self.docroot} init --user USER', or set state = \"/a/folder/of/its/own\""
                f" in {self.config_file}."
            ) from error

    def _refuse_network(self) -> None:
        kind = file_system(self.path)
        if kind.startswith(NETWORK_FILE_SYSTEMS):
            raise StateError(
                f"The state folder {self.path} lies on a network file system ({kind}), where locks and SQLite"
                f' do not hold. Set state = "/a/folder/on/a/local/disk" in {self.config_file}.'
            )

    # -- When to look ----------------------------------------------------------------------

    def write_next(self, moment: datetime | None, stamps: str) -> None:
        """Say when somebody should look next, and which files (``stamps``) are in force."""
        latest = time.time() + TICK_AT_LEAST_EVERY
        seconds = min(moment.timestamp(), latest) if moment else latest
        write_whole(self.next_file, stamps.encode("utf-8", "surrogateescape"), mtime=seconds)

    def look_now(self) -> None:
        """Have the next look taken at once: something is due earlier than ``next`` says."""
        try:
            os.utime(self.next_file)
        except FileNotFoundError:
            pass  # Nobody has looked yet, so everybody looks at once.

    def put_down_look(self, looker: str) -> None:
        """Put down that one of :data:`LOOKERS` has looked just now."""
        path = os.path.join(self.seen_folder, looker)
        try:
            os.utime(path)
        except FileNotFoundError:
            try:
                os.makedirs(self.seen_folder, 0o700, exist_ok=True)
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
            except OSError:
                pass
        except OSError:
            pass  # what is put down must not stop what it tells of

    def forget_hindrance(self) -> None:
        """Put down that a tick has done its work: nothing hinders it any more."""
        try:
            os.unlink(self.hindrance_file)
        except OSError:
            pass  # nothing did

    def last_seen(self) -> dict[str, datetime]:
        """Return when each of :data:`LOOKERS` has looked last, for those that ever did."""
        found = {}
        for looker in LOOKERS:
            try:
                found[looker] = datetime.fromtimestamp(os.stat(os.path.join(self.seen_folder, looker)).st_mtime, UTC)
            except OSError:
                pass  # it never did
        return found

    # -- Where the console is --------------------------------------------------------------

    def note_console(self, path: str) -> None:
        """Put down under which path an application shows the console, for those who print a link to it.

        :raises OSError: it cannot be written.
        """
        text = path.encode("utf-8", "surrogateescape")
        try:
            with open(self.console_file, "rb") as file:
                if file.read() == text:
                    return
        except FileNotFoundError:
            pass
        if self.exists():
            write_whole(self.console_file, text)

    # -- The site's log --------------------------------------------------------------------

    def log(self, sentence: str) -> None:
        """Append one line to the site's log: what happened to the site, as against within a run."""
        words = " ".join(sentence.split())
        line = f"{rfc3339(utc_now().replace(microsecond=0))} [{os.getpid()}] {words[:LONGEST_LINE]}\n"
        try:
            descriptor = os.open(self.log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(descriptor, line.encode("utf-8", "backslashreplace"))
                size = os.fstat(descriptor).st_size
            finally:
                os.close(descriptor)
            if size > LOG_LIMIT:
                os.replace(self.log_file, self.log_file + ".1")
        except OSError:
            pass  # A log that cannot be written must not stop what it tells of.


def _write_once(path: str, text: str) -> None:
    if not os.path.exists(path):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


def write_whole(path: str, content: bytes, *, mtime: float | None = None) -> None:
    """Write a file of which nobody ever sees half, readable by its owner alone.

    :param mtime: what it shall have, in seconds; None for now.
    :raises OSError: it cannot be written; the old one stays.
    """
    temporary = f"{path}.{os.getpid()}.{get_ident()}"  # any thread may, and needs no lock, which a fork could tear
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        if mtime is not None:
            os.utime(temporary, (mtime, mtime))
        os.rename(temporary, path)
    except OSError:
        os.unlink(temporary)  # on a full disk every tick would leave one
        raise


def file_system(path: str) -> str:
    """Return the type of the file system ``path`` lies on ("ext4", "nfs4"), or "" where nobody tells."""
    found, longest = "", -1
    path = os.path.realpath(path)
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                before, _, after = line.partition(" - ")
                mounted = before.split()[4].replace("\\040", " ")
                inside = path == mounted or path.startswith(mounted.rstrip("/") + "/")
                if inside and len(mounted) >= longest:
                    found, longest = after.split()[0], len(mounted)
    except OSError:
        pass
    return found


# -- Stamps ----------------------------------------------------------------------------------


def stamp(path: str) -> str:
    """Return what changes when a file is saved: mtime in ns, size and inode; "-" when there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return "-"
    return stamp_of(status)


def stamp_of(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns} {status.st_size} {status.st_ino}"


def stamp_lines(paths: list[str]) -> str:
    """Return the text that says of each file how it looks now, a line each: stamp, TAB, path."""
    return "".join(f"{stamp(path)}\t{path}\n" for path in paths)


def is_current(stamps: str) -> bool:
    """Tell whether the files named in ``stamps`` still look as they did."""
    for line in stamps.splitlines():
        seen, _, path = line.partition("\t")
        if stamp(path) != seen:
            return False
    return True


# -- Kernel locks ----------------------------------------------------------------------------


def lock(path: str, *, patience: float = 0.05) -> int | None:
    """Take the lock ``path`` and return its descriptor, or None when somebody holds it.

    The lock is let go when the descriptor is closed by all who have it, which a death does too.

    :param patience: seconds to try; a probe (:func:`is_locked`) may be in the way for an instant.
    """
    until = time.monotonic() + patience
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_ino == os.stat(path).st_ino:
                return descriptor
        except (BlockingIOError, FileNotFoundError):
            pass  # held; or unlinked by its last holder just before it became ours
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if time.monotonic() >= until:
            return None
        time.sleep(0.002)


def unlock(descriptor: int) -> None:
    """Let a lock go for all who have a copy of its descriptor, such as a frozen process that handed it on."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def is_locked(path: str) -> bool:
    """Tell whether somebody holds the lock ``path``, without ever keeping it from a taker for long."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
