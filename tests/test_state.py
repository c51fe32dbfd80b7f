"""The state folder: whose it is, where it may lie, and the kernel's locks in it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from helpers import a_state

from dracotask import state as state_module
from dracotask.clock import utc_now
from dracotask.errors import DracotaskError, StateError, WrongUser
from dracotask.state import (
    LOG_LIMIT,
    TICK_AT_LEAST_EVERY,
    State,
    file_system,
    is_current,
    is_locked,
    lock,
    stamp,
    stamp_lines,
    stamp_of,
)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: becoming another user takes root.")

#: A user who is nobody else on any system.
SOMEBODY = 54321


@pytest.fixture
def state(tmp_path: Path) -> State:
    return a_state(tmp_path)


def as_user(user: int, program: str, *arguments: object) -> str:
    """Run a program as another user and return what it printed, errors of ours included."""
    full = (
        # (Python itself may lie in root's home, where nobody else can import from.)
        "import os, pwd, shlex, sys\n"
        "from dracotask.errors import DracotaskError\n"
        "from dracotask.state import State\n"
        f"os.setegid({user}); os.seteuid({user})\n"
        f"try:\n    {program}\n"
        "except DracotaskError as error:\n    print(type(error).__name__, error)\n"
    )
    command = [sys.executable, "-c", full, *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


# -- The folder --------------------------------------------------------------------------------


def test_nothing_is_touched_before_a_method_is_called(tmp_path):
    state = State(str(tmp_path))
    assert not state.exists()
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_private_and_kept_out_of_git_and_the_web(tmp_path):
    before = os.umask(0)
    try:
        state = a_state(tmp_path)
    finally:
        os.umask(before)
    folders = [state.path, state.runs_folder, os.path.dirname(state.slot(1))]
    assert [os.stat(path).st_mode & 0o777 for path in folders] == [0o700] * 3
    assert (tmp_path / ".dracotask" / ".gitignore").read_text() == "*\n"
    assert "denied" in (tmp_path / ".dracotask" / ".htaccess").read_text()
    assert state.exists()


def test_making_it_again_changes_nothing(state):
    ignored = Path(state.path, ".gitignore")
    ignored.write_text("mine\n")
    state.create()
    assert ignored.read_text() == "mine\n"


def test_a_folder_made_by_halves_is_completed(state):
    os.rmdir(state.runs_folder)
    assert not state.exists()
    state.create()
    assert state.exists()


def test_everything_lies_in_the_folder(tmp_path):
    state = State(str(tmp_path), "/elsewhere")
    inside = [
        state.config_in_force, state.store_file, state.next_file, state.tick_lock, state.tick_errors,
        state.load_lock, state.load_output, state.log_file, state.slot(3), state.runs_folder,
        state.output_file("x"), state.run_lock("x"),
    ]  # fmt: skip
    assert all(path.startswith("/elsewhere/") for path in inside)
    assert len(set(inside)) == len(inside)
    assert state.task_file == str(tmp_path / "__tasks__.py")
    assert state.config_file == str(tmp_path / "dracotask.toml")


def test_a_place_where_no_folder_can_be_is_told_with_the_remedy(tmp_path):
    (tmp_path / "file").write_text("no folder")
    for path in (tmp_path / "file", tmp_path / "file" / "state"):
        with pytest.raises(StateError, match=str(path)):
            State(str(tmp_path), str(path)).create()


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph"])
def test_a_network_file_system_is_refused_with_the_remedy(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(state_module, "file_system", lambda path: kind)
    with pytest.raises(StateError, match=rf"network file system \({kind}\).*Set state = "):
        State(str(tmp_path)).create()
    # And it is asked again next time, for nothing counts as made
    assert not State(str(tmp_path)).exists()


@pytest.mark.parametrize("kind", ["ext4", "tmpfs", "overlay", "btrfs", "xfs", "zfs", ""])
def test_a_local_file_system_is_fine(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(state_module, "file_system", lambda path: kind)
    a_state(tmp_path)


@pytest.mark.skipif(not os.path.exists("/proc/self/mountinfo"), reason="NOT TESTED: it takes Linux.")
def test_the_kernel_knows_the_file_system():
    assert file_system("/proc/self") == "proc"
    assert file_system("/") not in ("", "proc")


# -- One site, one user ------------------------------------------------------------------------


@pytest.fixture
def docroot() -> Iterator[Path]:
    """Return a folder that other users can reach, unlike pytest's own."""
    with TemporaryDirectory(prefix="dracotask-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@needs_root
def test_another_user_is_refused_with_the_command_that_would_be_right(docroot):
    # Given a site whose state folder is somebody's
    state = a_state(docroot)
    os.chown(state.path, SOMEBODY, SOMEBODY)

    # Then root does not work in it, and says who would
    with pytest.raises(WrongUser, match=rf"belongs to #{SOMEBODY}, .*sudo -u '?#{SOMEBODY}"):
        state.create()
    with pytest.raises(WrongUser):
        state.check_user()


@needs_root
def test_root_does_not_lock_a_site_owner_out_by_the_way(docroot):
    # Given somebody's docroot, never ticked
    os.chown(docroot, SOMEBODY, SOMEBODY)

    # When root types the command
    with pytest.raises(WrongUser):
        a_state(docroot)

    # Then there is no state folder of root's in the owner's way
    assert list(docroot.iterdir()) == []


@needs_root
def test_a_user_who_may_not_write_the_docroot_is_told_the_remedy(docroot):
    said = as_user(SOMEBODY, "State(sys.argv[1]).create()", docroot)
    assert said.startswith("StateError")
    assert "init --user" in said


@needs_root
def test_a_user_makes_the_folder_of_his_own_site(docroot):
    os.chown(docroot, SOMEBODY, SOMEBODY)
    assert as_user(SOMEBODY, "State(sys.argv[1]).create()", docroot) == ""
    assert (docroot / ".dracotask").stat().st_uid == SOMEBODY
    assert as_user(SOMEBODY + 1, "State(sys.argv[1]).create()", docroot).startswith("WrongUser")


@needs_root
def test_a_folder_that_cannot_be_reached_is_an_error_of_ours(docroot):
    # Given a state folder behind a door that is shut for this user
    (docroot / "shut" / "state").mkdir(parents=True)
    (docroot / "shut").chmod(0o700)

    said = as_user(SOMEBODY, "State(sys.argv[1], sys.argv[1] + '/shut/state').create()", docroot)
    assert said.startswith("StateError")
    assert "shut/state" in said


def test_every_error_is_both_ours_and_the_systems():
    assert issubclass(WrongUser, DracotaskError)
    assert issubclass(WrongUser, OSError)


# -- Locks -------------------------------------------------------------------------------------

HOLDER = """\
import sys, time
from dracotask.state import lock
held = lock(sys.argv[1])
print("held" if held is not None else "lost", flush=True)
sys.stdin.readline()
"""


@contextmanager
def a_holder(path: object) -> Iterator[subprocess.Popen[str]]:
    """Have another process hold the lock."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder
        holder.kill()


def test_a_lock_is_one_processes_until_that_is_killed(tmp_path):
    path = str(tmp_path / "tick.lock")
    with a_holder(path) as holder:
        # Given another process that holds it
        assert is_locked(path)
        assert lock(path, patience=0) is None

        # When that is killed without a chance to tidy up
        holder.kill()
        holder.wait()

    # Then it is free at once
    assert not is_locked(path)
    held = lock(path)
    assert held is not None
    os.close(held)


def test_a_lock_excludes_a_second_one_in_the_same_process(tmp_path):
    # (POSIX locks would not, and closing any descriptor of the file would drop them.)
    path = str(tmp_path / "lock")
    held = lock(path)
    assert lock(path, patience=0) is None
    os.close(os.open(path, os.O_RDONLY))
    assert is_locked(path)
    os.close(held)
    assert not is_locked(path)


def test_a_lock_is_inherited_by_no_child(tmp_path):
    # Given a held lock, and a program started meanwhile that lives on
    path = str(tmp_path / "lock")
    held = lock(path)
    with subprocess.Popen(["sleep", "30"], close_fds=False) as child:
        # When the holder lets go
        os.close(held)

        # Then the child does not keep it
        assert not is_locked(path)
        child.kill()


def test_somebody_who_waits_gets_the_lock_when_it_is_let_go(tmp_path):
    path = str(tmp_path / "lock")
    with a_holder(path) as holder:
        threading.Timer(0.1, holder.kill).start()
        held = lock(path, patience=20)
    assert held is not None
    os.close(held)


def test_a_probe_makes_no_file_and_asks_for_nothing(tmp_path):
    assert is_locked(str(tmp_path / "lock")) is False
    assert list(tmp_path.iterdir()) == []


def test_probes_never_beat_a_taker_for_long(tmp_path):
    # Given processes that do nothing but ask whether the lock is held
    path = tmp_path / "lock"
    path.touch()
    program = f"from dracotask.state import is_locked\nprint(1, flush=True)\nwhile True: is_locked({str(path)!r})"
    probers = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) for _ in range(2)]
    try:
        for prober in probers:
            assert prober.stdout is not None
            prober.stdout.readline()

        # When it is taken again and again
        begun = time.monotonic()
        for _ in range(50):
            held = lock(str(path), patience=5)
            assert held is not None
            os.close(held)

        # Then it never took long
        assert time.monotonic() - begun < 5
    finally:
        for prober in probers:
            prober.kill()
            prober.communicate()


def test_probes_do_not_see_each_other(tmp_path):
    path = str(tmp_path / "lock")
    os.close(lock(path))
    seen: list[bool] = []
    threads = [
        threading.Thread(target=lambda: seen.extend(is_locked(path) for _ in range(300))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [False] * 1200


def test_of_an_unlinked_file_there_is_never_a_second_holder(tmp_path):
    # Given threads that take a lock, unlink the file while they hold it, and let go
    path = str(tmp_path / "lock")
    inside: list[int] = []
    most: list[int] = []
    until = time.monotonic() + 1

    def take_and_unlink() -> None:
        while time.monotonic() < until:
            held = lock(path, patience=0.5)
            if held is not None:
                inside.append(1)
                most.append(len(inside))
                inside.pop()
                os.unlink(path)
                os.close(held)

    threads = [threading.Thread(target=take_and_unlink) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # Then no two ever held it at once, though each opened another file by that name
    assert len(most) > 20
    assert max(most) == 1


def test_no_descriptor_is_left_open(tmp_path):
    path = str(tmp_path / "lock")
    held = lock(path)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        assert lock(path, patience=0) is None
        assert is_locked(path)
        assert not is_locked(str(tmp_path / "none"))
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(held)


# -- Stamps ------------------------------------------------------------------------------------


def test_a_stamp_changes_with_the_time_the_size_and_the_file(tmp_path):
    path = tmp_path / "file"
    seen = {stamp(str(path))}
    assert seen == {"-"}
    path.write_text("one")
    os.utime(path, ns=(5, 1000))
    seen.add(stamp(str(path)))
    assert stamp(str(path)) == stamp_of(os.stat(path))
    # Within the same second, by a nanosecond
    os.utime(path, ns=(5, 1001))
    seen.add(stamp(str(path)))
    # Another size, as of old
    path.write_text("three")
    os.utime(path, ns=(5, 1001))
    seen.add(stamp(str(path)))
    # Another file altogether, as of old
    (tmp_path / "new").write_text("seven")
    os.utime(tmp_path / "new", ns=(5, 1001))
    os.replace(tmp_path / "new", path)
    seen.add(stamp(str(path)))
    assert len(seen) == 5


def test_files_are_current_while_all_of_them_look_as_they_did(tmp_path):
    tasks, helper, absent = (tmp_path / name for name in ("__tasks__.py", "with\ttab.py", "none"))
    tasks.write_text("one")
    helper.write_text("two")
    lines = stamp_lines([str(tasks), str(helper), str(absent)])
    assert is_current(lines)

    absent.write_text("now there is one")
    assert not is_current(lines)
    absent.unlink()
    assert is_current(lines)
    helper.write_text("changed")
    assert not is_current(lines)


# -- When to look ------------------------------------------------------------------------------


def test_next_says_when_to_look_and_which_files_are_in_force(state):
    soon = utc_now() + timedelta(seconds=20)
    state.write_next(soon, "1 2 3\t/a/file\n")
    assert os.stat(state.next_file).st_mtime == pytest.approx(soon.timestamp(), abs=0.001)
    assert Path(state.next_file).read_text() == "1 2 3\t/a/file\n"
    assert [name for name in os.listdir(state.path) if name.startswith("next.")] == []


@pytest.mark.parametrize("moment", [None, utc_now() + timedelta(days=400)])
def test_a_look_is_taken_once_a_minute_in_any_case(state, moment):
    before = time.time()
    state.write_next(moment, "")
    assert before + TICK_AT_LEAST_EVERY - 1 <= os.stat(state.next_file).st_mtime <= time.time() + TICK_AT_LEAST_EVERY


def test_a_name_of_odd_bytes_is_written_as_it_is(state):
    state.write_next(None, f"-\t{os.fsdecode(b'/caf' + bytes([0xE9]))}\n")
    assert Path(state.next_file).read_bytes() == b"-\t/caf\xe9\n"


def test_a_look_can_be_had_at_once(state):
    state.look_now()  # nobody has looked yet: everybody looks at once
    assert not os.path.exists(state.next_file)

    state.write_next(utc_now() + timedelta(seconds=50), "kept\n")
    state.look_now()
    assert os.stat(state.next_file).st_mtime <= time.time() + 1
    assert Path(state.next_file).read_text() == "kept\n"


# -- The log -----------------------------------------------------------------------------------


def test_the_log_has_a_line_for_each_sentence(state):
    state.log("Loaded the file.")
    state.log("A problem\nof two lines,\tünï and \udce9.")
    lines = Path(state.log_file).read_text("utf-8").splitlines()
    assert len(lines) == 2
    assert lines[0].endswith(f"[{os.getpid()}] Loaded the file.")
    assert lines[1].endswith("A problem of two lines, ünï and \\udce9.")
    assert os.stat(state.log_file).st_mode & 0o777 == 0o600


def test_the_log_is_bounded(state):
    # Given somebody with a lot to say, again and again
    for _ in range(40):
        state.log("x" * (LOG_LIMIT // 8))
    for _ in range(700):
        state.log("y" * 3900)

    # Then two halves are kept at most, with what was said last
    sizes = [os.stat(path).st_size for path in (state.log_file, state.log_file + ".1") if os.path.exists(path)]
    assert sum(sizes) < 2 * LOG_LIMIT + 10_000
    assert len(os.listdir(state.path)) <= 8


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path):
    State(str(tmp_path), str(tmp_path / "nowhere")).log("Nobody hears this.")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_whole_leaves_nothing_behind(state):
    # Given a disk on which no file may grow (the shell's limit, for Python's own would outlast the test)
    state.write_next(None, "as it was")
    write = f"from dracotask.state import State; State({state.docroot!r}).write_next(None, 'x' * 5000)"
    limited = ["sh", "-c", 'ulimit -f 1; exec "$@"', "-", sys.executable, "-c", write]
    ended = subprocess.run(limited, capture_output=True)

    # Then the old file stays, and no half of a new one is beside it
    assert b"File too large" in ended.stderr
    assert Path(state.next_file).read_text() == "as it was"
    assert [path.name for path in Path(state.path).glob("next*")] == ["next"]
