"""The tables of a SQL store. Imported where a store is made, and by no run."""

from __future__ import annotations

SCHEMA = (
    """CREATE TABLE schedules (
        position INTEGER NOT NULL,
        name TEXT NOT NULL PRIMARY KEY,
        task TEXT NOT NULL,
        declared INTEGER NOT NULL,
        "trigger" TEXT,
        "override" TEXT,
        arguments TEXT NOT NULL,
        parameters TEXT,
        policy TEXT NOT NULL,
        description TEXT NOT NULL,
        source TEXT NOT NULL,
        next_fire_time TEXT,
        watermark TEXT,
        held_at TEXT,
        held_by TEXT,
        held_why TEXT,
        held_until TEXT,
        skip_until TEXT,
        skip_why TEXT,
        vanished_at TEXT,
        demand TEXT,
        own_policy TEXT,
        failures INTEGER,
        "after" TEXT,
        rev INTEGER NOT NULL,
        -- When the last of its Runs has ended that succeeded and is cleared away. No part of what its rev guards.
        succeeded_at TEXT
    )""",
    # For a tick, whose cost is that of what is due. The conditions are those of :data:`.sql._IN_FORCE`: however many
    # are held or gone, none of them is looked at.
    "CREATE INDEX schedules_next ON schedules (next_fire_time)"
    " WHERE held_at IS NULL AND vanished_at IS NULL AND next_fire_time IS NOT NULL",
    "CREATE INDEX schedules_watermark ON schedules (watermark)",
    # Few are held until some moment; a claim of another has nothing to write here.
    "CREATE INDEX schedules_held ON schedules (held_until) WHERE held_until IS NOT NULL",
    # (With the name, so that who follows whom is found in the index alone.)
    'CREATE INDEX schedules_after ON schedules ("after", name) WHERE "after" IS NOT NULL',
    """CREATE TABLE runs (
        id TEXT NOT NULL PRIMARY KEY,
        schedule TEXT NOT NULL,
        task TEXT NOT NULL,
        state TEXT NOT NULL,
        origin TEXT NOT NULL,
        requested_by TEXT,
        fire_from TEXT,
        fire_time TEXT,
        fire_count INTEGER,
        queued_at TEXT NOT NULL,
        started_at TEXT,
        finished_at TEXT,
        attempt INTEGER NOT NULL,
        host TEXT,
        pid INTEGER,
        token TEXT,
        policy TEXT NOT NULL,
        arguments TEXT NOT NULL,
        "exclusive" TEXT,
        despite_hold INTEGER NOT NULL,
        exit_code INTEGER,
        summary TEXT,
        error TEXT,
        cpu_seconds REAL,
        peak_memory INTEGER,
        output_bytes INTEGER,
        progress_done REAL,
        progress_total REAL,
        progress_note TEXT,
        stop_at TEXT,
        stop_by TEXT,
        stop_why TEXT,
        stop_grace REAL,
        priority INTEGER NOT NULL,
        not_before TEXT,
        attempts TEXT,
        checkpoint TEXT,
        late_cause TEXT,
        code TEXT,
        python TEXT,
        rev INTEGER NOT NULL
    )""",
    # NULLs differ from each other, so Runs on demand do not meet here.
    "CREATE UNIQUE INDEX runs_fire_time ON runs (schedule, fire_time)",
    # For the queue and what is at work, and a Run that is over has nothing to write here. The schedule stands here too,
    # so that to find what is active of one, and to count, takes no look at other rows. The condition is that of
    # :data:`.sql.IS_ACTIVE`: it stands in each question word for word, or the index is not thought of.
    "CREATE INDEX runs_state ON runs (state, priority DESC, id, schedule) WHERE state IN ('queued', 'running')",
    # Few wait for a retry; a Run that does not has nothing to write here.
    "CREATE INDEX runs_retry ON runs (not_before) WHERE not_before IS NOT NULL",
    # For the history of a task, of a schedule, and of what came in one way, newest first. (With the origin, so that a
    # history is gone through for it in the index alone.)
    "CREATE INDEX runs_task ON runs (task, id, origin)",
    "CREATE INDEX runs_schedule ON runs (schedule, id, origin)",
    "CREATE INDEX runs_origin ON runs (origin, id)",
    # For the few that ended badly or never began, with all that may be asked of them; a Run that succeeds has nothing
    # to write here. The condition is that of :data:`.sqlreading._IS_RARE`.
    "CREATE INDEX runs_rare ON runs (id, state, schedule, task, origin)"
    " WHERE state <> 'queued' AND state <> 'running' AND state <> 'succeeded'",
    # What there was of Runs that are over, as far as it is not counted in the rows themselves (:mod:`.tallies`).
    """CREATE TABLE tallies (
        task TEXT NOT NULL,
        state TEXT NOT NULL,
        runs INTEGER NOT NULL,
        seconds REAL NOT NULL,
        PRIMARY KEY (task, state)
    )""",
    """CREATE TABLE actions (
        id TEXT NOT NULL PRIMARY KEY,
        "at" TEXT NOT NULL,
        schedule TEXT NOT NULL,
        rev INTEGER NOT NULL,
        verb TEXT NOT NULL,
        "by" TEXT NOT NULL,
        why TEXT,
        details TEXT NOT NULL
    )""",
    "CREATE INDEX actions_schedule ON actions (schedule, rev)",
    # What has happened and somebody is still to be told of. The number is the order in which it happened.
    """CREATE TABLE events (
        number INTEGER NOT NULL PRIMARY KEY,
        kind TEXT NOT NULL,
        event TEXT NOT NULL
    )""",
    'CREATE TABLE notes ("key" TEXT NOT NULL PRIMARY KEY, "value" TEXT NOT NULL)',
)
