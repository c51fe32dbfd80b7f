"""``init``: a first task, and the state folder, which root can give to the site's user."""

from __future__ import annotations

import os
import pwd
import stat

from ..errors import ConfigError, DracotaskError, StateError
from ..report.cronline import user_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..state import State
    from .invocation import Invocation

HELLO = '''\
from dracotask import Task


class Hello(Task):
    """Says hello: a first task, to be replaced by yours."""

    def __init__(self):
        self.schedule(every="15m")  # or hour=4, or cron="0 4 * * mon-fri"

    def run(self):
        print("Hello from dracotask.")
        return "said hello"
'''


def init(invocation: Invocation, user: str | None) -> None:
    """Make what a site needs and does not have yet, and say what comes next.

    :param user: whose the state folder shall be; None for whoever calls.
    """
    if invocation.config.problem:
        raise ConfigError(invocation.config.problem)
    state = invocation.state
    owner = None if user is None else _find_user(user)
    if owner is None:
        state.create()
    else:
        _create_for(state, owner)
    made = _write_hello(state.task_file)
    print(f"{'Wrote' if made else 'Kept'} {state.task_file}{', with one task.' if made else ', which was there.'}")
    print(f"State folder: {state.path}, of {user_name(os.stat(state.path).st_uid)}.")
    _print_next(invocation, owner, made)


def _print_next(invocation: Invocation, owner: pwd.struct_passwd | None, made: bool) -> None:
    as_owner = f"sudo -u {owner.pw_name} " if owner is not None and owner.pw_uid != os.geteuid() else ""
    first = ("Hello", "runs it here and now") if made else ("check", "loads it and tells what is missing")
    commands = [(invocation.command(first[0]), first[1]), (invocation.command(), "lists the tasks")]
    print("\nNext:")
    width = max(len(command) for command, _ in commands)
    for command, effect in commands:
        print(f"  {as_owner}{command:<{width}}  {effect}")


def _write_hello(path: str) -> bool:
    """Write the first task file; False when there is one, which is never touched."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    except OSError as error:
        raise DracotaskError(f"{path} cannot be written: {error.strerror}. Right folder, right user?") from error
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(HELLO)
    return True


def _find_user(name: str) -> pwd.struct_passwd:
    if os.geteuid() != 0:
        raise DracotaskError(f"init --user {name}: only root can give the state folder to another user. Use sudo.")
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise DracotaskError(f"init --user {name}: there is no such user on this system.") from None


def _create_for(state: State, owner: pwd.struct_passwd) -> None:
    """Make the state folder as root and give it away; one that is there is given away as it stands."""
    if os.path.islink(state.path):
        raise StateError(f"{state.path} is a symbolic link: root follows none. Name its target with the key state.")
    if not os.path.isdir(state.path):
        os.makedirs(os.path.dirname(state.path), exist_ok=True)
        os.mkdir(state.path, 0o700)
    if os.stat(state.path).st_uid == 0:
        state.create()
    _give_away(state.path, owner)


def _give_away(path: str, owner: pwd.struct_passwd) -> None:
    """Give a folder and all in it to a user.

    It may be another user's so far, who could lay traps for root: links are not followed, and a
    file of several names is left alone.
    """
    for _, folders, files, folder in os.fwalk(path, follow_symlinks=False):
        for name in [*folders, *files]:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode) or status.st_nlink == 1:
                os.chown(name, owner.pw_uid, owner.pw_gid, dir_fd=folder, follow_symlinks=False)
        os.chown(folder, owner.pw_uid, owner.pw_gid)
