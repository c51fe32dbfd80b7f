"""``export`` and ``import``: what was added, held and rescheduled moves from one site to another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers import at
from sites import Site

from dracotask import Scheduler
from dracotask.errors import ControlError

TASKS = (
    "class Report(Task):", "    def __init__(self): self.schedule(hour=3)",
    "    def run(self, to: str = 'all', limit: int = 5): pass",
    "class Backup(Task):", "    def __init__(self): self.schedule(hour=4)", "    def run(self): pass",
)  # fmt: skip


@pytest.fixture
def shop(site: Site) -> Site:
    site.write(*TASKS)
    assert site.run("load").returncode == 0
    return site


@pytest.fixture
def other(tmp_path: Path) -> Any:
    """Another site with the same tasks."""
    other = Site(tmp_path / "other")
    other.write(*TASKS)
    assert other.run("load").returncode == 0
    try:
        yield other
        other.assert_nothing_is_left()
    finally:
        other.end_all()


def what_counts(site: Site) -> dict[str, Any]:
    """Return all that an export says but for the moment at which it was made."""
    document = json.loads(site.run("export").stdout)
    del document["exported_at"]
    return document


def a_document(**facts: Any) -> dict[str, Any]:
    return {"dracotask": 1, "added": [], "declared": [], "hold": None, **facts}


def an_entry(**facts: Any) -> dict[str, Any]:
    return {"name": "North", "task": "Report", "trigger": "every 10m", "arguments": {"to": "north"}, **facts}


def test_what_was_wanted_at_one_site_is_wanted_at_the_other(shop, other):
    # Given a site where schedules were added, updated, rescheduled and held
    scheduler = Scheduler(shop.docroot, by="anna")
    scheduler.add("Report", every="10m", name="North", arguments={"to": "north"}, policy={"retries": 3})
    scheduler.add("Backup", name="by hand")
    scheduler.update("by hand", description="Äpfel & Birnen")
    scheduler.hold("North", until=at("2099-01-01T00:00Z"), why="moving")
    scheduler.reschedule("Report", cron="0 5 * * *", timezone="Europe/Riga")
    scheduler.hold("Backup")
    scheduler.hold(why="maintenance")

    # When all that is written to a file, and taken in by another
    file = shop.docroot / "schedules.json"
    assert shop.run("export", str(file)).stdout == f"2 added schedules and 2 changed tasks written to {file}.\n"
    said = other.run("import", str(file), "--why", "new host")

    # Then the other site says the same of itself, to the moments of the holds
    assert (said.returncode, said.stderr) == (0, "")
    assert what_counts(other) == what_counts(shop)
    assert "North is added: it runs Report.\nNorth is held.\n" in said.stdout
    assert said.stdout.endswith("The whole site is held.\n")
    # And its record says who has brought that about, and why
    deeds = Scheduler(other.docroot).actions("North")
    assert [(deed.verb, deed.why) for deed in deeds] == [("hold", "new host"), ("add", "new host")]
    # What is taken in counts from now on
    assert other.runs() == []


def test_an_export_is_for_people_and_for_version_control(shop):
    scheduler = Scheduler(shop.docroot)
    for name in ("b", "a"):
        scheduler.add("Report", every="10m", name=name, arguments={"to": "ä"})

    text = shop.run("export").stdout

    assert text.index('"name": "a"') < text.index('"name": "b"')
    assert '"to": "ä"' in text and text.endswith("}\n")
    assert [key for key in json.loads(text)] == ["dracotask", "exported_at", "added", "declared", "hold"]


def test_what_is_there_already_is_refused_unless_it_shall_be_replaced(shop):
    scheduler = Scheduler(shop.docroot)
    scheduler.add("Report", every="10m", name="North")
    document = a_document(added=[an_entry(name="South"), an_entry(trigger="every 20m")])

    # When one of the names is taken, then nothing at all is taken in
    with pytest.raises(ControlError, match=r"added\[1\] \(North\): North is there already"):
        scheduler.import_(document)
    assert scheduler.schedule("South") is None

    # When it may be replaced, then it is
    assert scheduler.import_(document, replace=True)[1] == "North is replaced: it runs Report."
    assert scheduler.schedule("North").trigger.startswith("every 20m")


def test_a_dry_run_checks_all_and_changes_nothing(shop):
    file = shop.docroot / "schedules.json"
    file.write_text(json.dumps(a_document(added=[an_entry()], hold={"by": "anna", "why": None})))
    before = what_counts(shop)

    said = shop.run("import", str(file), "--dry-run").stdout

    assert said == (
        "Nothing is changed. This would be done:\nNorth is added: it runs Report.\nThe whole site is held.\n"
    )
    assert what_counts(shop) == before and Scheduler(shop.docroot).actions() == []


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ([], "the file: it is a list, and no object"),
        ({}, "'dracotask' is missing"),
        ({"dracotask": 2}, "version 2 is not 1"),
        (a_document(aded=[]), "no 'aded' in an export. Did you mean added?"),
        (a_document(added={}), "added: it is an object, and no list"),
        (a_document(added=[an_entry(), {"name": "x"}]), "added[1]: 'task' is missing"),
        (a_document(added=[an_entry(), an_entry()]), "added[1]: 'North' is there twice"),
        (a_document(added=[an_entry(name=7)]), "added[0]: name: it is a number, and no text"),
        (a_document(added=[an_entry(task="Repot")]), "added[0] (North): no task 'Repot'. Did you mean Report?"),
        (a_document(added=[an_entry(name="Backup")]), "added[0] (Backup): Backup is the name of a task"),
        (a_document(added=[an_entry(trigger="sometimes")]), "added[0] (North): 'sometimes' is not a trigger"),
        (a_document(added=[an_entry(trigger="at 2001-01-01T00:00:00+00:00")]), "never fires again"),
        (a_document(added=[an_entry(trigger="by rules:Moon 2027-01-01T00:00Z")]), "of a class of the site's own"),
        (a_document(added=[an_entry(arguments={"too": 1})]), "run() takes no 'too'"),
        (a_document(added=[an_entry(arguments=[1])]), "arguments: it is a list, and no object"),
        (a_document(added=[an_entry(policy={"retry": 1})]), "'retry' is no policy"),
        (a_document(added=[an_entry(hold=True)]), "hold: it is true or false, and no object"),
        (a_document(added=[an_entry(hold={"until": "soon"})]), "hold.until: 'soon' is no moment"),
        (a_document(declared=[{"name": "Repot"}]), "declared[0] (Repot): no task 'Repot'"),
        (a_document(hold={"by": 7}), "hold: hold.by: 7 is no text"),
    ],
)  # fmt: skip
def test_a_document_that_is_wrong_is_refused_with_the_place(shop, document, place):
    scheduler = Scheduler(shop.docroot)

    with pytest.raises(ControlError) as error:
        scheduler.import_(document)

    assert place in str(error.value)
    assert len(str(error.value)) < 500
    assert scheduler.actions() == [] and len(scheduler.schedules()) == 2


def test_a_file_that_is_none_is_refused_in_one_line(shop):
    file = shop.docroot / "broken.json"

    for content, why in ((b'{"dracotask": 1,\n "added": [}', "line 2, column 12"), (b"\xff\xfe", "no text in UTF-8")):
        file.write_bytes(content)
        ended = shop.run("import", str(file))
        assert ended.returncode == 2 and why in ended.stderr and ended.stderr.count("\n") == 1
    assert "cannot be read" in shop.run("import", "/nowhere.json").stderr
    assert "cannot be written" in shop.run("export", "/nowhere/at/all.json").stderr


def test_holds_that_are_over_by_then_are_none(shop):
    hold = {"by": "anna", "why": "lunch", "until": "2020-01-01T00:00:00Z"}

    done = Scheduler(shop.docroot).import_(a_document(declared=[{"name": "Report", "hold": hold}]))

    assert done == ["The hold of Report was over 2020-01-01T00:00:00Z."]
    assert Scheduler(shop.docroot).schedule("Report").held_at is None


def test_a_program_takes_in_schedules_of_the_tasks_that_it_has():
    # Given two programs, one of which knows a task only under a schedule of another name
    def sweep(days: int = 7) -> None:
        pass

    here, there = Scheduler(), Scheduler()
    here.add(sweep, every="1h", name="hourly", arguments={"days": 1})
    document = here.export()

    with pytest.raises(ControlError, match=r"added\[0\] \(hourly\): no task 'sweep'"):
        there.import_(document)

    there.add(sweep, name="by hand")
    there.import_(document)
    assert there.schedule("hourly").arguments == here.schedule("hourly").arguments
