"""Fixtures that several test modules share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from programs import Program
from sites import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Return a real site; whatever the test did, nothing of it may be left over."""
    site = Site(tmp_path / "docroot")
    try:
        yield site
        site.assert_nothing_is_left()
    finally:
        site.end_all()


@pytest.fixture
def programs() -> Iterator[Callable[..., Program]]:
    """Make Programs, which are stopped afterwards."""
    made: list[Program] = []

    def make(*arguments: object, **options: object) -> Program:
        made.append(Program(*arguments, **options))
        return made[-1]

    yield make
    for program in made:
        program.scheduler.stop(wait=0)


@pytest.fixture
def program(programs) -> Program:
    return programs()
