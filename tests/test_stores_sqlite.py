"""What only the SQLite file can suffer: first openers, deletion, damage, locks and full disks."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import NOON, a_run, a_schedule, an_outcome, begun, runs_in_order, stored
from test_stores_races import race_of_processes

from dracotask.errors import StoreBusy, StoreMissing, StoreUnusable
from dracotask.stores.sql import SCHEMA_VERSION
from dracotask.stores.sqlite import SQLiteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    with SQLiteStore(str(path), patience=5).open() as opened:
        yield opened


def another(path: Path, **options: float) -> SQLiteStore:
    return SQLiteStore(str(path), **options).open()


def remove(path: Path) -> None:
    for name in os.listdir(path.parent):
        if name.startswith(path.name):
            os.unlink(path.parent / name)


# -- Opening -----------------------------------------------------------------------------------


def test_nothing_is_opened_before_open(tmp_path):
    SQLiteStore(str(tmp_path / "no folder" / "state.db"))
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_not_open_says_so(path):
    with pytest.raises(StoreUnusable, match="not open"):
        SQLiteStore(str(path)).runs()


def test_everything_is_durable(store):
    # A claim that a power cut takes back would run a fire time twice
    assert store._execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._execute("PRAGMA synchronous").fetchone() == (2,)


def test_the_database_itself_refuses_a_fire_time_twice(store):
    # The last line of defence, whatever a claim may have overlooked
    store.add_run(a_run(fire_time=NOON))
    with pytest.raises(StoreUnusable, match="UNIQUE"):
        store.add_run(a_run(fire_time=NOON))
    store.add_run(a_run())
    store.add_run(a_run())


def test_the_file_is_private_whatever_the_umask(path):
    before = os.umask(0)
    try:
        another(path).close()
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600


def test_of_many_first_openers_each_finds_one_store(tmp_path):
    # Given files that nobody has made yet
    for round_ in range(3):
        path = tmp_path / f"state{round_}.db"

        # When eight processes open one at once
        won = race_of_processes(path, "open_and_ask", 8)

        # Then nobody met an error, all wrote to the same, and nothing is left lying about
        with another(path) as store:
            assert all(store.note(name) == "was here" for (name,) in won)
        assert [name for name in os.listdir(tmp_path) if ".new." in name] == []


def test_what_an_opener_left_that_was_killed_is_in_nobodys_way(path):
    # Given the half-made database of a process that had our number, as container hosts reuse them
    aside = Path(f"{path}.new.{os.getpid()}")
    aside.write_bytes(b"half a databa")
    Path(f"{aside}-wal").write_bytes(b"and its log")

    with another(path) as store:
        stored(store, a_schedule())
    assert not aside.exists()


@pytest.mark.parametrize(
    "folder", ["with space", "50% off?#1", "ünïcode", os.fsdecode(b"latin\xe9"), "a%20b", "semi;colon&x=1"]
)
def test_any_folder_name_will_do(tmp_path, folder):
    (tmp_path / folder).mkdir()
    path = tmp_path / folder / "state.db"
    with another(path) as store, another(path) as other:
        stored(store, a_schedule())
        assert len(other.schedules()) == 1
    assert os.listdir(tmp_path / folder) == ["state.db"]


# -- A file that changes under an open store ---------------------------------------------------


def test_a_store_goes_on_with_a_new_file_when_its_own_was_deleted(path, store):
    # Given a store with a past
    stored(store, a_schedule())
    old = begun(store, a_run())

    # When somebody deletes it (rsync --delete, git clean)
    remove(path)

    # Then the next word goes into a new one that others see, and no Run has another's id
    assert store.schedules() == []
    new = begun(store, a_run())
    with another(path) as other:
        assert other.runs() == [new]
    assert new.id != old.id


def test_a_deleted_file_takes_its_log_with_it(path, store):
    # Given two who have the file open, and changes that are in its -wal as yet
    with another(path) as other:
        for number in range(30):
            store.put_note(f"old {number}", "x" * 3000)
        assert other.note("old 0")

        # When only the file itself is deleted
        os.unlink(path)

        # Then the new one starts empty, and both agree on what it holds
        store.put_note("new", "fact")
        assert (other.note("new"), other.note("old 0")) == ("fact", None)
        other.put_note("another", "fact")
    with another(path) as later:
        assert (later.note("new"), later.note("another"), later.note("old 0")) == ("fact", "fact", None)
        assert later._execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_store_goes_on_with_the_file_that_took_the_place_of_its_own(tmp_path, path, store):
    # Given a backup made in time
    store.put_note("which", "the first")
    with another(tmp_path / "backup.db") as backup:
        backup.put_note("which", "the backup")

    # When it is put back
    remove(path)
    os.rename(tmp_path / "backup.db", path)

    # Then what is read and written is the backup's
    assert store.note("which") == "the backup"
    with store.transaction():
        store.put_note("more", "fact")
    with another(path) as other:
        assert (other.note("which"), other.note("more")) == ("the backup", "fact")


def test_a_transaction_begins_in_the_file_that_is_there(path, store):
    remove(path)
    with store.transaction():
        store.put_note("fact", "kept")
    with another(path) as other:
        assert other.note("fact") == "kept"


def test_a_reader_does_not_make_the_deleted_file_anew(path, store):
    with SQLiteStore(str(path)).open(create=False) as reader:
        store.close()
        remove(path)
        with pytest.raises(StoreMissing):
            reader.runs()
    assert not path.exists()


# -- Files that cannot be used -----------------------------------------------------------------


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be one" * 100, b"short"])
def test_a_damaged_file_is_refused_with_its_name_and_left_alone(path, content):
    path.write_bytes(content)
    with pytest.raises(StoreUnusable, match=f"(?s){path}.*damaged.*Move it away"):
        another(path).schedules()
    assert path.read_bytes() == content


def test_an_empty_file_is_refused_like_one_of_another_version(path):
    path.touch()
    with pytest.raises(StoreUnusable, match=str(path)):
        another(path)


def test_damage_further_inside_is_told_in_our_words(path):
    # Given a store that is sound but for one page, be it this one or that
    with another(path) as store, store.transaction():
        for run in runs_in_order(300):
            store.add_run(run)
    sound = path.read_bytes()
    told = 0
    for start in range(4096, len(sound), 5 * 4096):
        path.write_bytes(sound[:start] + b"\xff" * 4096 + sound[start + 4096 :])

        # When the history is read, the queue looked at, and all of it cleared away
        for ask in (
            lambda store: store.runs(limit=None),
            lambda store: store.queued(300),
            lambda store: store.prune("Report", keep=0, since=NOON),
        ):
            try:
                with another(path) as store:
                    ask(store)
            except StoreUnusable as error:
                told += "damaged" in str(error)

    # Then nobody met an error of the driver, wherever in the answer the damage lay
    assert told > 3


def test_another_schema_version_stands_down(path):
    another(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()

    with pytest.raises(StoreUnusable, match=f"version {SCHEMA_VERSION + 1}.*version {SCHEMA_VERSION}"):
        another(path)


def test_a_place_where_no_file_can_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("no folder")
    for path in (tmp_path / "file" / "state.db", tmp_path / "nowhere" / "state.db", tmp_path):
        with pytest.raises(StoreUnusable, match=str(path)):
            another(path)


def test_somebody_else_locking_for_too_long_is_busy_and_no_harm_done(path, store):
    # Given another program in the middle of a write
    stored(store, a_schedule())
    impatient = another(path, patience=0.1)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")

    # When a store wants to write
    with impatient:
        with pytest.raises(StoreBusy, match=str(path)), impatient.transaction():
            pytest.fail("nobody can be in here")
        with pytest.raises(StoreBusy):
            impatient.add_run(a_run())

        # Then it can still read, and writes once the other has gone
        assert len(impatient.schedules()) == 1
        blocker.close()
        impatient.add_run(a_run())
    assert len(store.runs()) == 1


# -- Long histories ----------------------------------------------------------------------------


def test_no_run_pays_for_the_history_before_it(store, monkeypatch):
    # Given somebody who asks the database how it goes about each statement
    plans = []
    execute = store._execute

    def explained(statement, values=()):
        if statement.startswith(("SELECT", "UPDATE")):
            plans.extend(row[3] for row in execute(f"EXPLAIN QUERY PLAN {statement}", values))
        return execute(statement, values)

    monkeypatch.setattr(store, "_execute", explained)

    # When it is asked what a run and a tick ask
    begun(store, run := a_run())
    store.begin(a_run(), token="mine", host="here", pid=1, now=NOON, limit=1)
    store.active("Report")
    store.queued(5)
    store.finish(run.but(token="mine"), an_outcome())
    store.runs(task="Report")
    store.due(NOON)
    store.next_fire_time()
    store.holds_over(NOON)

    # Then it walks through what is active, or is led to a row: never through a table, or all that a schedule ever ran
    assert any("runs_state" in plan for plan in plans)
    assert [plan for plan in plans if "runs_fire_time" in plan] == []
    assert [plan for plan in plans if plan.startswith("SCAN") and plan != "SCAN CONSTANT ROW"] == []


# -- A full disk -------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=384k", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("NOT TESTED: a full disk. It takes root, and the right to mount a tmpfs.")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_is_told_and_what_was_written_before_is_whole(small_disk):
    # Given a store on a disk that is nearly full
    path = small_disk / "state.db"
    with another(path) as store:
        stored(store, a_schedule())

        # When more is written than there is room for, alone and in transactions
        with pytest.raises(StoreUnusable, match="full"):
            for number in range(1000):
                store.put_note(f"note {number}", "x" * 4000)
        with pytest.raises(StoreUnusable, match="full"), store.transaction():
            for run in runs_in_order(1000):
                store.add_run(run)
        kept = sum(store.note(f"note {number}") is not None for number in range(1000))

        # Then what was promised is there, nothing by halves, and it goes on once there is room
        assert len(store.schedules()) == 1
        assert store.runs() == []
        assert kept > 0
        subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
        store.add_run(a_run())
        assert len(store.runs()) == 1
        assert store._execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_disk_without_room_for_a_store_is_told(small_disk):
    filler = small_disk / "filler"
    with pytest.raises(OSError), open(filler, "wb", buffering=0) as file:
        for _ in range(1000):
            file.write(b"x" * 1024)
    path = small_disk / "state.db"
    with pytest.raises(StoreUnusable, match=str(path)):
        another(path)
    assert [name for name in os.listdir(small_disk) if name != "filler"] == []
