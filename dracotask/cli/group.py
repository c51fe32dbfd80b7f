"""The grammar behind the docroot: a command, or a task's name, or a word that is likely one of these."""

from __future__ import annotations

from difflib import get_close_matches

import click

from ..errors import DracotaskError, StoreMissing, TaskNotFound
from ..report.reading import read
from .invocation import NAME, Invocation
from .running import COMMANDS, among_commands

#: What stands before the words of a command in its help.
PROGRAM = f"{NAME} DOCROOT"


class Commands(click.Group):
    """The commands in the order in which people need them; a word that is none may be a task's name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in COMMANDS if name in self.commands]

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(NAME, "DOCROOT [TASKNAME | COMMAND] [OPTIONS]")

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        if word in self.commands:
            return super().resolve_command(ctx, args)
        # A task's name with options: those of `run`.
        if not word.startswith("-") and word in _known_tasks(ctx.obj):
            return "run", self.commands["run"], args
        raise _no_such_word(word, ctx.obj)


def _known_tasks(invocation: Invocation) -> list[str]:
    try:
        return [schedule.name for schedule in read(invocation).schedules]
    except StoreMissing:
        return []


def _no_such_word(word: str, invocation: Invocation) -> DracotaskError | click.UsageError:
    tasks = _known_tasks(invocation)
    close = get_close_matches(word.lower(), [name.lower() for name in (*tasks, *COMMANDS)], n=1)
    if close or tasks:
        return among_commands(TaskNotFound(word, invocation.state.task_file, tasks))
    return click.UsageError(f"no such task or command: {word!r}. See: {NAME} --help")


def print_version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    """Answer --version; also in a checkout that was never installed."""
    if not wanted or context.resilient_parsing:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        print(f"dracotask {version('dracotask')}")
    except PackageNotFoundError:
        print("dracotask, from a checkout that is not installed")
    context.exit()
