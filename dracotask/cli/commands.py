"""The commands behind ``dracotask.py DOCROOT``, but for ``TASKNAME`` and ``due``, which the lean path does.

The docroot comes first and is none of click's business: the group that is called below stands on
an :class:`~.invocation.Invocation`, so that a framework may hang it into its own command line.
"""

from __future__ import annotations

import gc
import sys

import click

from ..visible import visible_line
from .group import PROGRAM, Commands, print_version
from .invocation import Invocation
from .output import settle_streams
from .running import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_STOPPED,
    EXIT_USAGE,
    caller,
    drawing,
    exit_code,
    say_how_it_ended,
    say_that_it_waits,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def run_command(arguments: list[str]) -> int:
    """Do what the arguments say and return the exit code; an error of dracotask's own goes to the caller."""
    gc.enable()  # some of these live long
    settle_streams()
    try:
        if not arguments or arguments[0].startswith("-"):
            return _without_docroot(arguments)
        docroot, *words = arguments
        if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help", "--version")):
            words.insert(0, "list")
        return _call(Invocation(docroot), words)
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.Abort:
        return EXIT_STOPPED
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        help_at = f" See: {context.command_path} --help" if context and context.parent else ""
        sentence = visible_line(error.format_message())
        end = "." if sentence.endswith(")") else ""  # the one kind that click itself does not end
        print(f"dracotask: {sentence}{end}{help_at}", file=sys.stderr)
        return EXIT_USAGE
    except BrokenPipeError:
        return _nobody_reads()


def _call(invocation: Invocation, words: list[str]) -> int:
    with commands.make_context(PROGRAM, words, obj=invocation) as context:
        code: int | None = commands.invoke(context)
    sys.stdout.flush()
    return code or EXIT_DONE


def _without_docroot(arguments: list[str]) -> int:
    """Answer --help and --version, which need no docroot, and a call that says nothing at all."""
    if arguments and arguments[0] not in ("-h", "--help", "--version"):
        raise click.UsageError(f"the docroot comes first: {PROGRAM} {' '.join(arguments)}")
    if not arguments:
        context = click.Context(commands, info_name=PROGRAM, help_option_names=HELP["help_option_names"])
        print(commands.get_help(context), file=sys.stderr)
        return EXIT_USAGE
    commands.make_context(PROGRAM, arguments)
    return EXIT_DONE


def _nobody_reads() -> int:
    """Leave quietly when whoever read our output has gone (``… | head``)."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_FAILED


HELP = {"help_option_names": ["-h", "--help"]}


@click.group(
    cls=Commands, context_settings=HELP, no_args_is_help=False, subcommand_metavar="[TASKNAME | COMMAND] [OPTIONS]"
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=print_version,
    help="Show the version and exit.",
)  # fmt: skip
def commands() -> None:
    """Scheduled tasks of a site: the classes in DOCROOT/__tasks__.py.

    With a TASKNAME, run that task here and now and exit with its result. With nothing, list the tasks.

    Exit codes: 0 done, 1 the task failed, 2 wrong usage or a broken file, 75 not run because it
    already runs or is held, 124 over its time limit, 130 stopped.
    """


@commands.command("list")
@click.option("-w", "--watch", is_flag=True, help="Keep it on the screen until Ctrl-C.")
@click.option("--state", metavar="STATE", help="Only those held, due, waiting, running, failing, on-demand or gone.")
@click.option("--task", metavar="TASK", help="Only those of this task.")
@click.option("--query", metavar="TEXT", help="Only those with this in their name, task, description or rule.")
@click.option("--sort", metavar="KEY", help="By name, next or last; without it, trouble first.")
@click.option("--reverse", is_flag=True, help="The other way round.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for machines.")
@click.pass_obj
def list_(
    invocation: Invocation, /, watch: bool, as_json: bool, sort: str | None, reverse: bool, query: str | None,
    **wanted: str | None,
) -> None:  # fmt: skip
    """Every task: next, last, how it went."""
    from . import listing

    try:
        invocation.selection = listing.Selection(sort=sort, reverse=reverse, text=query, **wanted)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if watch and (as_json or not sys.stdout.isatty()):
        raise click.UsageError("-w keeps the list on a terminal: without --json, and into no pipe.")
    if watch:
        listing.watch_list(invocation)
    elif as_json:
        listing.print_list_as_json(invocation)
    else:
        listing.print_list(invocation)


@commands.command()
@click.argument("name", metavar="TASK")
@click.argument("words", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("-q", "--quiet", is_flag=True, help="Print its output only if it fails, as for cron's mail.")
@click.option("--even-if-held", is_flag=True, help="Although the task, or the whole site, is held.")
@click.option("--debug", is_flag=True, help="In this very process, for pdb: no limit, no record, no capture.")
@click.pass_obj
def run(
    invocation: Invocation, name: str, words: tuple[str, ...], quiet: bool, even_if_held: bool, debug: bool
) -> int:
    """Run this task now, here, and exit with its result.

    KEY=VALUE is handed to its run() by name.
    """
    from ..said import arguments_said

    site = invocation.to_act()
    arguments = arguments_said(words) if words else None
    if debug:
        from .debug import debug as run_here

        return run_here(site, name, arguments)
    ended = site.run(
        name, by=caller(), tee=None if quiet else 1, draw=None if quiet else drawing(), arguments=arguments,
        even_if_held=even_if_held,
    )  # fmt: skip
    if quiet:
        from .quiet import say_if_failed

        say_if_failed(site, ended)
    else:
        say_how_it_ended(ended)
    site.tell_of_run(say_that_it_waits)
    return exit_code(ended)


@commands.command()
@click.pass_obj
def due(invocation: Invocation) -> int:
    """Run everything that is due, then exit: the one cron line."""
    invocation.site.tick("command")
    return EXIT_DONE


@commands.command()
@click.argument("name", metavar="TASK")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for machines.")
@click.pass_obj
def show(invocation: Invocation, name: str, as_json: bool) -> None:
    """Schedule, next times, last runs, and why it does not run."""
    from . import show as showing

    (showing.print_task_as_json if as_json else showing.print_task)(invocation, name)


@commands.command()
@click.argument("words", metavar="TASK|RULE", nargs=-1, required=True)
@click.option(
    "-n", "number", type=click.IntRange(1, 10_000), default=20, metavar="NUMBER", show_default=True,
    help="At most so many.",
)  # fmt: skip
@click.option("--from", "since", metavar="TIME", help="From then on: '2027-03-28 00:00'. Without it, from now.")
@click.option("--timezone", metavar="ZONE", help="Of the rule and of the table, instead of the site's.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for machines.")
@click.pass_obj
def preview(invocation: Invocation, /, words: tuple[str, ...], **said: Any) -> None:
    """Next times of a task, or of a rule.

    RULE is a trigger as text, "every 90s", or a line of cron, "0 4 * * mon-fri". Times that the clock skips or shows
    twice are marked.
    """
    from . import preview as previewing

    previewing.preview(invocation, [*words], **said)


@commands.command()
@click.option("--days", metavar="DAYS", default="30", show_default=True, help="So many, or 12h.")
@click.option("--from", "since", metavar="TIME", help="From then on: '2027-03-28 00:00'. Without it, from now.")
@click.option(
    "--traffic", metavar="TRAFFIC", default="idle", show_default=True,
    help="Who looks: idle, cron, none, 'every 5m', '08:00-22:00 every 30s'.",
)  # fmt: skip
@click.option("--downtime", metavar="FROM/TO", multiple=True, help="Nothing runs then. May be said several times.")
@click.option("--duration", "durations", metavar="TASK=LENGTH", multiple=True, help="So long its runs take.")
@click.option("--task", "name", metavar="TASK", help="Tell of this one only.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for machines.")
@click.pass_obj
def simulate(invocation: Invocation, /, **said: Any) -> None:
    """What would run in the days to come."""
    from . import simulate as simulating

    simulating.print_simulation(invocation, **said)


@commands.command()
@click.argument("name", metavar="[TASK]", required=False)
@click.option(
    "-n", "limit", type=click.IntRange(min=1), default=20, metavar="NUMBER", show_default=True,
    help="At most so many.",
)  # fmt: skip
@click.option("--failed", is_flag=True, help="Only those that failed, took too long or were lost.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for machines.")
@click.pass_obj
def runs(invocation: Invocation, name: str | None, limit: int, failed: bool, as_json: bool) -> None:
    """History, newest first."""
    from . import history

    history.print_runs(invocation, name, limit=limit, failed=failed, as_json=as_json)


@commands.command()
@click.argument("word", metavar="[TASK|RUN]", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@click.pass_obj
def log(invocation: Invocation, word: str | None, follow: bool) -> None:
    """Output of a run; with nothing, the site's own log.

    Of a TASK it is that of its last run.
    """
    from .log import print_run_log, print_site_log

    if word is None:
        print_site_log(invocation, follow=follow)
    else:
        print_run_log(invocation, word, follow=follow)


WHY = click.option("--why", metavar="TEXT", help="Goes on record.")
ALL = click.option("--all", "whole_site", is_flag=True, help="The whole site, and what is added to it.")


def rule_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say a rule of time."""
    for option, metavar, words in (
        ("--exclude", "DATES", "Not on these: 2026-12-25,2026-12-28..2027-01-02."),
        ("--between", "TIMES", "Only then: 22:00-06:00, or 08:00-12:00,13:00-17:00."),
        ("--jitter", "LENGTH", "Each time up to so much later: 30s."),
        ("--timezone", "ZONE", "On the clock of this zone, not the site's."),
        ("--end", "TIME", "No later than that."),
        ("--start", "TIME", "No earlier than that."),
        ("--time", "TIME", "With --calendar, the time of day: 03:00."),
        ("--after", "NAMES", "After each success of that task, or of several."),
        ("--calendar", "DATES", "Every so many: '3 months', '2 weeks'."),
        ("--at", "TIME", "Once, at that moment: 14:00, '2027-01-31 14:00'."),
        ("--every", "LENGTH", "An interval: 90s, 15m, 1h30m."),
        ("--cron", "LINE", "Five fields as cron has them, on the site's clock."),
    ):
        command = click.option(option, metavar=metavar, help=words)(command)
    return command


@commands.command()
@click.argument("word", metavar="TASK|RUN")
@WHY
@click.option("--grace", metavar="LENGTH", help="From the polite request to the kill: 30s.")
@click.pass_obj
def stop(invocation: Invocation, word: str, why: str | None, grace: str | None) -> int:
    """Ask it to stop, kill it after its grace."""
    from ..said import seconds_said
    from .stop import stop as stop_runs

    return stop_runs(invocation, word, why, seconds_said(grace, "--grace"))


@commands.command()
@click.argument("name", metavar="TASK")
@WHY
@click.pass_obj
def demand(invocation: Invocation, name: str, why: str | None) -> None:
    """Have it run once more, by whoever looks next.

    While it is at work, or waits, that is when that run has ended; several demands become one.
    """
    from . import control

    control.demand(invocation, name, why)


@commands.command()
@click.argument("name", metavar="[TASK]", required=False)
@ALL
@click.option("--until", metavar="TIME", help="The hold ends by itself: 2h, 14:00, '2027-01-31 14:00'.")
@WHY
@click.pass_obj
def hold(invocation: Invocation, name: str | None, whole_site: bool, until: str | None, why: str | None) -> None:
    """Let it not run until it is resumed.

    What is at work goes on.
    """
    from . import control

    if whole_site and until is not None:
        raise click.UsageError("the whole site is held until somebody resumes it: --until is for a task.")
    if _is_all(name, whole_site):
        control.hold_site(invocation, why)
    else:
        control.hold(invocation, name or "", until, why)


@commands.command()
@click.argument("name", metavar="[TASK]", required=False)
@ALL
@WHY
@click.pass_obj
def resume(invocation: Invocation, name: str | None, whole_site: bool, why: str | None) -> None:
    """End a hold; what fell into it does not run."""
    from . import control

    if _is_all(name, whole_site):
        control.resume_site(invocation, why)
    else:
        control.resume(invocation, name or "", why)


def _is_all(name: str | None, whole_site: bool) -> bool:
    if (name is None) is not whole_site:
        raise click.UsageError("say which: the name of a task, or --all for the whole site.")
    return whole_site


@commands.command("skip-next")
@click.argument("name", metavar="TASK")
@WHY
@click.pass_obj
def skip_next(invocation: Invocation, name: str, why: str | None) -> None:
    """Skip its next fire time; once more, the one after that."""
    from . import control

    control.skip_next(invocation, name, why)


@commands.command()
@click.argument("name", metavar="TASK")
@click.argument("words", metavar="[RULE]", nargs=-1)
@rule_options
@click.option("--file", "as_in_file", is_flag=True, help="Back to the rule in __tasks__.py.")
@WHY
@click.pass_obj
def reschedule(invocation: Invocation, /, name: str, words: tuple[str, ...], **said: Any) -> None:
    """Give it another rule, until the file has a new one.

    RULE is a trigger as text, "every 90s" or "cron 0 4 * * *"; or say it with an option.
    """
    from . import control

    control.reschedule(invocation, name, words, **said)


@commands.command()
@click.argument("name", metavar="NAME")
@click.argument("task", metavar="TASK")
@click.argument("words", metavar="[RULE] [KEY=VALUE]...", nargs=-1)
@rule_options
@click.option("--replace", is_flag=True, help="Although a schedule of that name is there already.")
@click.option("--held", is_flag=True, help="Held from the start, until it is resumed.")
@click.option("--policy", metavar="KEY=VALUE", multiple=True, help="Not as its task: grace=5m. Any number of times.")
@WHY
@click.pass_obj
def add(invocation: Invocation, /, name: str, task: str, words: tuple[str, ...], **said: Any) -> None:
    """Add a schedule of a task, under a name of its own.

    Without a rule it runs on demand. KEY=VALUE is handed to the task's run() by name.
    """
    from . import control

    control.add(invocation, name, task, words, **said)


@commands.command()
@click.argument("name", metavar="NAME")
@click.argument("words", metavar="[RULE] [KEY=VALUE]...", nargs=-1)
@rule_options
@click.option("--on-demand", is_flag=True, help="Without a rule.")
@click.option("--task", metavar="TASK", help="It runs this task.")
@click.option("--policy", metavar="KEY=VALUE", multiple=True, help="All its own policy: grace=5m; none for none.")
@click.option("--description", metavar="TEXT", help="What it is for.")
@click.option("--no-arguments", is_flag=True, help="Hand nothing to run().")
@WHY
@click.pass_obj
def update(invocation: Invocation, /, name: str, words: tuple[str, ...], **said: Any) -> None:
    """Change a schedule that was added.

    What is said is changed, all of it or nothing. KEY=VALUE is handed to the task's run() instead of what was.
    """
    from . import control

    control.update(invocation, name, words, **said)


@commands.command()
@click.argument("path", metavar="[FILE]", required=False)
@click.pass_obj
def export(invocation: Invocation, path: str | None) -> None:
    """Write what was added and held, as JSON.

    Without a FILE it is printed.
    """
    from .export import export as export_all

    export_all(invocation, path)


@commands.command("import")
@click.argument("path", metavar="FILE")
@click.option("--replace", is_flag=True, help="Although schedules of these names are there already.")
@click.option("--dry-run", is_flag=True, help="Check all, and change nothing.")
@WHY
@click.pass_obj
def import_(invocation: Invocation, path: str, why: str | None, replace: bool, dry_run: bool) -> None:
    """Take in what was exported, all or nothing.

    A FILE of - is what comes in by a pipe.
    """
    from .export import import_ as import_all

    import_all(invocation, path, why, replace=replace, dry_run=dry_run)


@commands.command()
@click.argument("name", metavar="NAME")
@WHY
@click.pass_obj
def remove(invocation: Invocation, name: str, why: str | None) -> None:
    """Remove a schedule that was added."""
    from . import control

    control.remove(invocation, name, why)


@commands.command()
@click.option("--timeout", metavar="LENGTH", help="Wait so long at most: 10m. Without it, as long as it takes.")
@WHY
@click.pass_obj
def drain(invocation: Invocation, timeout: str | None, why: str | None) -> int:
    """Hold the whole site, and wait until nothing is at work.

    The exit code is 1 when something still is at the timeout. The hold stays.
    """
    from ..said import seconds_said
    from .drain import drain as drain_site

    return drain_site(invocation, seconds_said(timeout, "--timeout"), why)


@commands.command()
@click.pass_obj
def load(invocation: Invocation) -> None:
    """Take in __tasks__.py as it is now."""
    from .load import load as load_tasks

    load_tasks(invocation)


@commands.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, for machines.")
@click.option("--url", metavar="URL", help="Also ask the site there for its private files.")
@click.pass_obj
def check(invocation: Invocation, as_json: bool, url: str | None) -> int:
    """Load the tasks, test the setup, print the cron line.

    The exit code is 1 when there is a problem.
    """
    from .check import check as check_site

    return check_site(invocation, url=url, as_json=as_json)


@commands.command()
@click.option("--user", metavar="NAME", help="As root: whose the state folder shall be, as www-data.")
@click.pass_obj
def init(invocation: Invocation, user: str | None) -> None:
    """Write a first __tasks__.py and make the state folder."""
    from .init import init as make_site

    make_site(invocation, user)


@commands.command()
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="0.0.0.0 is for everybody.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, metavar="NUMBER", show_default=True,
    help="0 is any that is free.",
)  # fmt: skip
@click.pass_obj
def serve(invocation: Invocation, host: str, port: int) -> None:
    """Serve the site with its tasks, for development."""
    from .serve import serve as serve_site

    serve_site(invocation, host, port)


@commands.command()
@click.option("--read", is_flag=True, help="A link to look only, and change nothing.")
@click.option("--name", metavar="NAME", help="Whom the link is for, for the record; without it, you.")
@click.option("--url", metavar="URL", help="Where the console is, if not at console_url of dracotask.toml.")
@click.option("--port", type=click.IntRange(0, 65535), metavar="NUMBER", help="Serve it here, on this port.")
@click.option("--host", metavar="ADDRESS", help="Serve it here, at this address; 0.0.0.0 is for everybody.")
@click.option("--sign-out-everybody", "sign_out", is_flag=True, help="End all sessions, close all links; no link.")
@click.pass_obj
def console(invocation: Invocation, /, **said: Any) -> None:
    """Print a sign-in link for the console.

    It works once, within ten minutes. Where no application shows the console, it is served here until Ctrl-C.
    """
    from .console import open_console

    open_console(invocation, **said)


@commands.command()
@click.option("-o", "--output", "path", metavar="FILE", help="Into this file, whole or not at all, for all to read.")
@click.option("--label", "labels", metavar="KEY=VALUE", multiple=True, help="Added to each metric. May be repeated.")
@click.pass_obj
def metrics(invocation: Invocation, path: str | None, labels: tuple[str, ...]) -> None:
    """Print the metrics for Prometheus.

    They are for the textfile collector of node_exporter; without one, Prometheus reads them from the console.
    """
    from .metrics import print_metrics

    print_metrics(invocation, path, labels)
