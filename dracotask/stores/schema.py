"""The tables of a SQL store. Imported where a store is made, and by no run."""

from __future__ import annotations

SCHEMA = (
    """CREATE TABLE schedules (
        position INTEGER NOT NULL,
        name TEXT NOT NULL PRIMARY KEY,
        task TEXT NOT NULL,
        declared INTEGER NOT NULL,
        "trigger" TEXT,
        arguments TEXT NOT NULL,
        policy TEXT NOT NULL,
        description TEXT NOT NULL,
        source TEXT NOT NULL,
        next_fire_time TEXT,
        watermark TEXT,
        held_at TEXT,
        held_by TEXT,
        held_why TEXT,
        held_until TEXT,
        vanished_at TEXT,
        demand TEXT,
        rev INTEGER NOT NULL
    )""",
    "CREATE INDEX schedules_next ON schedules (next_fire_time)",
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
        exit_code INTEGER,
        summary TEXT,
        error TEXT,
        cpu_seconds REAL,
        peak_memory INTEGER,
        output_bytes INTEGER,
        stop_at TEXT,
        stop_by TEXT,
        stop_why TEXT,
        rev INTEGER NOT NULL
    )""",
    # NULLs differ from each other, so Runs on demand do not meet here.
    "CREATE UNIQUE INDEX runs_fire_time ON runs (schedule, fire_time)",
    "CREATE INDEX runs_state ON runs (state, id)",
    # For what is active of a task, however long its history is.
    "CREATE INDEX runs_task ON runs (task, state, id)",
    "CREATE TABLE notes (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)",
)
