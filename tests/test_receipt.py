"""A run's receipt: which code it was, with which Python, how its process ended and what it took."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from pathlib import Path

import pytest
import servers
from helpers import NOON, a_policy, a_run, seconds
from sites import Site

from dracotask.report.words import code_in_words, exit_in_words, late_in_words, resources_in_words
from dracotask.run import receipt
from dracotask.run.receipt import code_in_force, commit_of

GIT = {
    **os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "GIT_AUTHOR_NAME": "Anna",
    "GIT_AUTHOR_EMAIL": "anna@example.org", "GIT_COMMITTER_NAME": "Anna", "GIT_COMMITTER_EMAIL": "anna@example.org",
}  # fmt: skip

TASKS = ("from helper import WORD", "class Report(Task):", "    def run(self):", "        return WORD")


def git(folder: Path, *words: str) -> str:
    try:
        ended = subprocess.run(["git", *words], cwd=folder, env=GIT, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        servers.missing("git")
    return ended.stdout.strip()


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A checkout of git with one commit."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "__tasks__.py").write_text("")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message=first")
    return folder


# -- On record ---------------------------------------------------------------------------------


def test_a_run_tells_which_code_it_was(site: Site):
    # Given a task with a helper
    site.put("helper.py", "WORD = 'one'\n")
    site.write(*TASKS)
    site.run("Report")
    first = site.last_run()
    assert first.python == platform.python_version()

    # When nothing has changed, the receipt is the same; and when the helper has, it is another
    site.put("dracotask.toml", "max_running = 3\n")
    site.run("Report")
    assert site.last_run().code == first.code
    site.put("helper.py", "WORD = 'two'\n")
    site.run("Report")
    second = site.last_run()
    assert (first.summary, second.summary) == ("one", "two")
    assert second.code != first.code

    # And it is back when the helper is
    site.put("helper.py", "WORD = 'one'\n")
    site.run("Report")
    assert site.last_run().code == first.code
    assert f"Code      {first.code}" in site.run("show", "Report").stdout


def test_the_digest_is_of_names_and_bytes(tmp_path):
    # Given a task file and a helper in a package
    (tmp_path / "shop").mkdir()
    (tmp_path / "__tasks__.py").write_text("import shop.mail\n")
    (tmp_path / "shop" / "mail.py").write_text("x = 1\n")
    task_file, helper = str(tmp_path / "__tasks__.py"), str(tmp_path / "shop" / "mail.py")

    # Then anybody can work it out
    digest = hashlib.sha256(b"__tasks__.py\x0017\0import shop.mail\nshop/mail.py\x006\0x = 1\n").hexdigest()[:12]
    others = [helper, "/usr/lib/python3/os.py", str(tmp_path / "holidays.ics"), str(tmp_path / "dracotask.toml")]
    assert code_in_force(str(tmp_path), task_file, others) == digest


@pytest.mark.parametrize("kind", ["missing", "fifo", "folder", "huge"])
def test_a_helper_that_cannot_be_read_leaves_no_digest(tmp_path, monkeypatch, kind):
    # Given what a hostile load may name
    monkeypatch.setattr(receipt, "MOST_BYTES", 1000)
    (tmp_path / "__tasks__.py").write_text("")
    helper = tmp_path / "helper.py"
    {
        "missing": lambda: None, "fifo": lambda: os.mkfifo(helper), "folder": helper.mkdir,
        "huge": lambda: helper.write_bytes(b"#" * 1001),
    }[kind]()  # fmt: skip

    assert code_in_force(str(tmp_path), str(tmp_path / "__tasks__.py"), [str(helper)]) is None


# -- The commit --------------------------------------------------------------------------------


def test_a_docroot_in_a_checkout_has_a_commit(site: Site):
    # Given a docroot that is a checkout
    site.write("class Report(Task):", "    def run(self):", "        pass")
    git(site.docroot, "init", "--quiet")
    git(site.docroot, "add", "__tasks__.py")
    git(site.docroot, "commit", "--quiet", "--message=first")

    # When a task runs, then its receipt has the commit
    site.run("Report")
    code, commit = (site.last_run().code or "").split(" ")
    assert len(code) == 12
    assert commit == git(site.docroot, "rev-parse", "HEAD")[:12]
    assert site.run("show", "Report").stdout.count(f"{code}, commit {commit}") == 1


@pytest.mark.parametrize(
    "way",
    [
        [],
        ["pack-refs --all"],
        ["pack-refs --all", "commit --quiet --allow-empty --message=second"],
        ["checkout --quiet --detach"],
        ["checkout --quiet -b feature/of/the/day"],
        ["symbolic-ref refs/heads/alias refs/heads/main", "symbolic-ref HEAD refs/heads/alias"],
        ["gc --quiet"],
    ],
)
def test_the_commit_is_read_as_git_keeps_it(checkout, way):
    for words in way:
        git(checkout, *words.split())

    assert commit_of(str(checkout)) == git(checkout, "rev-parse", "HEAD")[:12]


def test_a_folder_within_a_checkout_has_its_commit(checkout):
    below = checkout / "sites" / "shop"
    below.mkdir(parents=True)

    assert commit_of(str(below)) == git(checkout, "rev-parse", "HEAD")[:12]


@pytest.mark.parametrize("packed", [False, True])
def test_a_worktree_has_its_own_commit(checkout, packed):
    # Given a second worktree that has gone on
    second = checkout.parent / "second"
    git(checkout, "worktree", "add", "--quiet", "-b", "second", str(second))
    git(second, "commit", "--quiet", "--allow-empty", "--message=further")
    if packed:
        git(checkout, "pack-refs", "--all")

    # Then each has the commit of its own branch
    commits = [git(folder, "rev-parse", "HEAD")[:12] for folder in (checkout, second)]
    assert [commit_of(str(checkout)), commit_of(str(second))] == commits
    assert commits[0] != commits[1]


def test_a_submodule_has_its_own_commit(checkout):
    outer = checkout.parent / "outer"
    outer.mkdir()
    git(outer, "init", "--quiet")
    git(outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(checkout), "inner")

    assert commit_of(str(outer / "inner")) == git(checkout, "rev-parse", "HEAD")[:12]


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"HEAD": b"ref: refs/heads/main\n"},  # no commit yet
        {"HEAD": b""},
        {"HEAD": b"\xff\xfe\0"},
        {"HEAD": b"ref: refs/../../../../etc/passwd\n"},
        {"HEAD": b"ref: /etc/passwd\n"},
        {"HEAD": b"ref: HEAD\n"},
        {"HEAD": b"ref: refs/a\n", "refs/a": b"ref: refs/a\n"},
        {"HEAD": b"ref: refs/a\n", "refs/a": b"<script>alert(1)</script>" + b"a" * 15},
        {"HEAD": b"a" * 39},
        {"HEAD": b"ref: refs/heads/main\n", "packed-refs": b"\xff" * 100_000},
        {"HEAD": b"ref: refs/heads/.invalid\n"},  # as reftable has it
        {"commondir": b"/nowhere\n", "HEAD": b"ref: refs/heads/main\n"},
    ],
)
def test_what_is_no_checkout_has_no_commit(tmp_path, files):
    for name, content in files.items():
        path = tmp_path / ".git" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / ".git").mkdir(exist_ok=True)

    assert commit_of(str(tmp_path)) is None


@pytest.mark.parametrize("content", [b"gitdir: /nowhere", b"gitdir: ", b"gitdir: \0", b"\xff" * 1000, b"gitdir: ."])
def test_a_file_that_leads_to_no_checkout_leads_to_no_commit(tmp_path, content):
    (tmp_path / ".git").write_bytes(content)

    assert commit_of(str(tmp_path)) is None


def test_nobody_waits_for_a_fifo_in_place_of_git_s_files(tmp_path):
    (tmp_path / ".git").mkdir()
    os.mkfifo(tmp_path / ".git" / "HEAD")

    assert commit_of(str(tmp_path)) is None


# -- In words ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "facts, words",
    [
        ({"state": "queued"}, ""),
        ({"state": "running"}, ""),
        ({"state": "skipped"}, ""),
        ({"state": "succeeded", "exit_code": 0}, "exit code 0"),
        ({"state": "failed", "exit_code": 1}, "exit code 1"),
        ({"state": "failed", "exit_code": -9}, "killed by SIGKILL (out of memory?)"),
        ({"state": "failed", "exit_code": -11}, "killed by SIGSEGV, a segmentation fault"),
        ({"state": "failed", "exit_code": -60}, "killed by signal 60"),
        ({"state": "timed_out", "exit_code": 1}, "over its time limit of 5s, exit code 1"),
        ({"state": "timed_out", "exit_code": -9}, "over its time limit of 5s, killed by SIGKILL"),
        ({"state": "stopped", "exit_code": 1}, "stopped, exit code 1"),
        ({"state": "stopped", "exit_code": -9}, "stopped, killed by SIGKILL"),
        ({"state": "stopped"}, "stopped"),
        (
            {"state": "failed", "exit_code": -9, "error": "over its memory limit of 64 MiB (3 processes together)"},
            "over its memory limit of 64 MiB (3 processes together), killed by SIGKILL",
        ),
        ({"state": "lost"}, "its supervisor died before it could tell"),
        # One in a program's own memory has no process.
        ({"state": "succeeded"}, ""),
    ],
)  # fmt: skip
def test_how_a_process_ended_is_told_in_words(facts, words):
    assert exit_in_words(a_run(policy=a_policy(time_limit=5.0), **facts)) == words


@pytest.mark.parametrize(
    "facts, words",
    [
        ({"cpu_seconds": 31.2, "peak_memory": 84 << 20}, "CPU 31s, 84 MiB peak"),
        ({"cpu_seconds": 0.0312}, "CPU 31ms"),
        ({}, ""),
    ],
)
def test_what_a_run_took_is_told_in_words(facts, words):
    assert resources_in_words(a_run(**facts)) == words


@pytest.mark.parametrize(
    "code, words",
    [(None, ""), ("3f2a9c81b0de", "3f2a9c81b0de"), ("3f2a9c81b0de 9fceb02d0ae5", "3f2a9c81b0de, commit 9fceb02d0ae5")],
)
def test_code_is_told_in_words(code, words):
    assert code_in_words(code) == words


def test_only_what_was_late_is_told_so():
    facts = {"fire_time": NOON, "late_cause": "no request came"}

    assert late_in_words(a_run(started_at=NOON + seconds(2), **facts)) == ""
    assert late_in_words(a_run(started_at=NOON + seconds(252), **facts)) == "4m 12s: no request came"
    assert late_in_words(a_run(started_at=NOON + seconds(252), fire_time=NOON)) == "4m 12s"
