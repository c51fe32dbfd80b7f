"""``check``: is this site set up so that its tasks run?"""

from __future__ import annotations

from ..keys import ALL_KEYS
from ..report.checks import find, value_in_words, value_shown
from ..report.checkweb import deny_lines
from ..report.cronline import cron_line, edit_crontab, site_owner
from ..visible import visible_line
from .output import cells, print_json
from .running import EXIT_DONE, EXIT_FAILED, EXIT_USAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..report.finding import Finding
    from .invocation import Invocation


def check(invocation: Invocation, *, url: str | None, as_json: bool) -> int:
    """Print all findings and return the exit code: 1 when one is a problem, 2 for a broken dracotask.toml."""
    findings = list(find(invocation, url))
    has_problem = any(each.status == "problem" for each in findings)
    if as_json:
        print_json(_as_json(invocation, findings, has_problem))
    else:
        _print(invocation, findings)
    if invocation.config.problem:
        return EXIT_USAGE
    return EXIT_FAILED if has_problem else EXIT_DONE


def _print(invocation: Invocation, findings: list[Finding]) -> None:
    paper = invocation.paper
    for each in findings:
        print("\n".join(each.lines(paper)))
    print(f"\n{paper.paint('In force', 'bold')}")
    values = {key: visible_line(value_in_words(invocation, key)) for key in ALL_KEYS}
    width = max(map(cells, values.values()))
    for key, value in values.items():
        room = " " * (width - cells(value))
        print(f"  {key:<13}  {value}{room}  {paper.paint(invocation.config.origin(key), 'dim')}")
    owner = site_owner(invocation)
    print(f"\n{paper.paint('The line for cron', 'bold')}, in the crontab of {owner} ({edit_crontab(owner)}):")
    print(f"  {cron_line(invocation)}")
    print(f"\n{paper.paint('If a front server serves files of the docroot itself', 'bold')}, deny it these:")
    for line in deny_lines(invocation):
        print(f"  {line}")
    problems = sum(each.status == "problem" for each in findings)
    print(f"\n{'No problem' if not problems else '1 problem' if problems == 1 else f'{problems} problems'} found.")


def _as_json(invocation: Invocation, findings: list[Finding], has_problem: bool) -> dict[str, Any]:
    config = invocation.config
    return {
        "ok": not has_problem,
        "findings": [each.as_json() for each in findings],
        "config": {key: {"value": value_shown(invocation, key), "origin": config.origin(key)} for key in ALL_KEYS},
        "cron_line": cron_line(invocation),
        "user": site_owner(invocation),
    }
