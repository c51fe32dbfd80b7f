"""Fixtures that several test modules share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
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
