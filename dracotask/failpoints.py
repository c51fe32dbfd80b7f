"""Named points at which a test lets a process die.

``DRACOTASK_FAILPOINT=NAME`` kills the process that comes to NAME as ``kill -9``
would, so that each stage of a run can be proved to survive its own death. Without
the variable a point is one comparison.

In the order in which they are reached:

==================  ==========================================================================
tick_locked         the tick has its lock, and has done nothing yet
load_forked         the loading body is about to read the task file
load_reported       the supervisor of a load has its report, and has not written it yet
load_adopted        what was loaded is in force
tick_swept          what dead supervisors left is recorded
tick_claimed        what is due is claimed and queued
supervisor_forked   a supervisor has its slot, and has taken nothing yet
body_forked         a body is there, and has not read the task file yet
run_locked          a supervisor holds the lock of a queued Run
run_taken           the Run is its own; the body does not know yet
body_started        the body has its order
work_done           the body has come back from ``run()``, and has not reported yet
work_reported       the body has reported
run_given_back      the Run is queued again, for the task file has changed into a broken one
outcome_known       the body is gone, and its outcome not recorded yet
outcome_left        the outcome is in the lock file, for the store would not have it
outcome_recorded    the outcome is on record, and the lock still held
listener_begins     a listener is about to be told of an event
alert_sent          pings and alerts have been sent, and are not forgotten yet
tick_launched       all supervisors are forked, and the tick still holds its lock
==================  ==========================================================================
"""

from __future__ import annotations

import os

_ARMED = os.environ.get("DRACOTASK_FAILPOINT")


def reach(name: str) -> None:
    """Pass the point ``name``, or die there when a test has armed it."""
    if name == _ARMED:
        os.kill(os.getpid(), 9)
