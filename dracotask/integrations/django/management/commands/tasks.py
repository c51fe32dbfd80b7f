"""``manage.py tasks …``: dracotask's own program for the docroot of the settings."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from .....cli.running import EXIT_USAGE
from .....errors import DracotaskError
from ....program import run_program
from ... import options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Command(BaseCommand):  # type: ignore[misc]
    help = "Scheduled tasks: list them, run, hold, stop one, see what ran. `manage.py tasks --help` tells all."
    requires_system_checks: list[str] = []  # noqa: RUF012

    def run_from_argv(self, argv: list[str]) -> None:
        """Hand the words over as they are, less what ``manage.py`` itself has read."""
        manages = ArgumentParser(add_help=False, allow_abbrev=False)
        manages.add_argument("--settings")
        manages.add_argument("--pythonpath")
        try:
            code = run_program(_docroot(), manages.parse_known_args(argv[2:])[1])
        except DracotaskError as error:
            self.stderr.write(f"dracotask: {error}")
            sys.exit(EXIT_USAGE)
        sys.exit(code)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("words", nargs="*", metavar="TASKNAME | COMMAND")

    def handle(self, *arguments: str, **options: Any) -> None:
        """Do it for ``call_command("tasks", "hold", "Report")``."""
        code = run_program(_docroot(), options["words"])
        if code:
            raise CommandError(f"tasks: exit code {code}", returncode=code)


def _docroot() -> str:
    docroot: str = os.path.abspath(options()["docroot"])
    return docroot
