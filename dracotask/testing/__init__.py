"""For your own tests: a time machine, what to assert of it, and a clock that stands still.

    from dracotask.testing import assert_ran, simulate

    def test_the_report_is_sent_once_when_the_clock_is_put_forward():
        spring = simulate("/srv/shop", traffic="cron", start="2027-03-27", days=2)

        assert_ran(spring, "Report", at="2027-03-28 04:00", times=1)

Nothing here needs pytest; what does not hold is an ``AssertionError``.
"""

from __future__ import annotations

from .asserting import assert_not_ran, assert_ran, assert_skipped
from .clock import FrozenClock
from .simulate import simulate
from .simulation import Lateness, Simulation, Summary
from .traffic import Traffic

__all__ = [
    "FrozenClock", "Lateness", "Simulation", "Summary", "Traffic", "assert_not_ran", "assert_ran", "assert_skipped",
    "simulate",
]  # fmt: skip
