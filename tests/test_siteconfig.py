"""The configuration in force: defaults < dracotask.toml < DRACOTASK_*, checked once and written down."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import a_state

from dracotask.configfile import read_file
from dracotask.errors import ConfigError, TimedOut
from dracotask.keys import ALL_KEYS, KEYS, POLICY_KEYS
from dracotask.model import DEFAULT_POLICY
from dracotask.siteconfig import NO_DEFAULT, Config, find_state, read_config, variable
from dracotask.state import State


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("DRACOTASK_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def site(tmp_path: Path) -> State:
    return a_state(tmp_path)


def write(site: State, toml: str) -> None:
    """Save a dracotask.toml as an editor does: a new file each time, so its stamp differs."""
    Path(site.config_file + ".new").write_text(toml, encoding="utf-8")
    os.replace(site.config_file + ".new", site.config_file)


def config_of(site: State, toml: str) -> Config:
    write(site, toml)
    return read_config(site)


def problem_with(site: State, toml: str) -> str:
    """Return what is said of a broken file."""
    problem = config_of(site, toml).problem
    assert problem is not None, toml
    return problem


#: For each key: values in TOML with what they are read as, and values that are refused.
EXAMPLES: dict[str, tuple[dict[str, object], list[str]]] = {
    "timezone": ({'"Europe/Riga"': "Europe/Riga"}, ["3", '""', '"two\\nlines"', "true", '["UTC"]']),
    "state": ({'"/var/lib/x"': "/var/lib/x"}, ["3", '""', "false"]),
    "host": ({'"web1"': "web1"}, ["3", '""', '"\\u0000"']),
    "python": ({'"/usr/bin/python3"': "/usr/bin/python3"}, ["3.11", '""']),
    "enabled": ({"true": True, "false": False, '"off"': False}, ['"perhaps"', "2", "[]"]),
    "max_running": ({"1": 1, "16": 16}, ["0", "-1", "1.5", "4.0", '"four"', "true", "[]", "inf"]),
    "late_after": ({'"90s"': 90.0, "90": 90.0, '"1h30m"': 5400.0}, ["0", "-5", '"soon"', "true", '""', "nan", "inf"]),
    "load_limit": ({'"30s"': 30.0, "0.5": 0.5}, ["0", '"0s"', '"30 parsecs"', "07:32:00"]),
    "listener_limit": ({'"1m"': 60.0, "0.5": 0.5}, ["0", "-1", '"none"', "true"]),
    "console_url": (
        {'"https://www.example.org/tasks"': "https://www.example.org/tasks", '"http://[::1]:8766"': "http://[::1]:8766"},
        ['"www.example.org/tasks"', '"ftp://x"', '"https://"', '"https://anna:secret@x/"', '"https://x/?a=b"', '"https://x/#a"',
         '"https://x:99999/"', '"https://[x/"', '"https://x y/"', "8766", "true", '""'],
    ),
    "metrics_token": (
        {'"0123456789abcdef"': "0123456789abcdef", '"größer-als-sechzehn"': "größer-als-sechzehn",
         '"env:SHOP_TOKEN"': "env:SHOP_TOKEN", '"none"': None},
        ['"0123456789abcde"', '"sixteen letters and blanks"', '"env:"', '"env:A B"', '""', "1234567890123456", "true"],
    ),
    "time_limit": ({'"24h"': 86400.0, "60": 60.0, '"none"': None, '"1.5h"': 5400.0}, ["0", '"no"', "false", "inf"]),
    "stop_grace": ({'"10s"': 10.0, "0.25": 0.25}, ["0", '"none"', "-1", "0.0000001"]),
    "max_output": (
        {"65536": 65536, '"64 KiB"': 65536, '"1 MiB"': 1 << 20, '"2 GB"': 2 * 10**9, '"1.5k"': 1500, '"7b"': 7},
        ["0", '"none"', '"1 TiB"', '"MiB"', "true", '"-1 MiB"', "1e300"],
    ),
    "memory_limit": ({'"none"': None, '"200 MiB"': 200 << 20, "1000": 1000}, ["0", '"much"', "false"]),
    "nice": ({"0": 0, "19": 19}, ["-1", "20", "true", "1.5", '"nice"', "[]"]),
    "exclusive": ({'"warehouse"': "warehouse", '"a-b_2"': "a-b_2", '"none"': None}, ["1", "true", '""', '"a b"', "[]"]),
    "max_instances": ({"1": 1, "3": 3}, ["0", "2.5", '"many"', "true"]),
    "keep_runs": ({"1": 1, "100000": 100000}, ["0", "0.5", "-3"]),
    "keep_days": ({"90": 90.0, "0.5": 0.5, '"2w"': 14.0, '"12h"': 0.5}, ["0", '"ever"', "true", "inf"]),
    "coalesce": ({'"latest"': "latest", '"earliest"': "earliest", '"all"': "all"}, ['"last"', "1", "true", "[]"]),
    "catch_up": ({"1": 1, "1000": 1000}, ["0", "1001", "2.5", '"many"', "true"]),
    "grace": ({'"5m"': 300.0, "0.5": 0.5, '"none"': None}, ["0", "-1", '"late"', "true", "inf"]),
    "overlap": ({'"skip"': "skip", '"queue"': "queue", '"allow"': "allow"}, ['"queued"', '"none"', "false"]),
    "priority": ({"0": 0, "-100": -100, "100": 100, '"-7"': -7}, ["-101", "101", "0.5", '"high"', "true", '"--1"']),
    "retries": ({"0": 0, "1000": 1000, '"3"': 3}, ["-1", "1001", "1_000_000_000", "2.0", '"often"', "true", "[]"]),
    "retry_delay": ({'"10m"': 600.0, "0": 0.0, "0.5": 0.5}, ["-1", '"soon"', "true", "nan"]),
    "retry_backoff": ({"1": 1.0, "2.5": 2.5, "10": 10.0}, ["0.5", "11", '"twice"', "true", "nan"]),
    "retry_max_delay": ({'"1d"': 86400.0, "90": 90.0}, ["-1", '"long"', "false"]),
    "retry_jitter": ({"0": 0.0, "0.25": 0.25, "1": 1.0}, ["-0.1", "1.1", '"some"', "true", "nan"]),
    "retry_on": (
        {
            '"none"': None, '"TimedOut"': "TimedOut", '["ConnectionError", "shop.Busy"]': "ConnectionError,shop.Busy",
            '"OSError, KeyError , OSError"': "OSError,KeyError",
        },
        ['""', '"a b"', "3", "[]", '["OSError", 3]', '"OSError,"', '"os.error()"', "true"],
    ),
    "on_lost": ({'"record"': "record", '"retry"': "retry"}, ['"rety"', "true"]),
    "pause_after": ({"1": 1, "5": 5, '"none"': None}, ["0", "-1", "1.5", '"few"', "true"]),
    "ping": (
        {'"https://hc.example/key/{slug}?create=1"': "https://hc.example/key/{slug}?create=1",
         '"http://[::1]:80/{task}"': "http://[::1]:80/{task}", '"env:PING_URL"': "env:PING_URL", '"none"': None},
        ['"https://hc.example/uuid"', '"hc.example/{task}"', '"file:///{task}"', '"https://{task}:x/"',
         '"https:///{task}"', '"https://a:b@x/{task}"', '"https://x/{task} y"', '"https://x/{task}#a"',
         '"https://é.example/{task}"', '"env:"', '"env:A B"', "3", "true", '""', '["https://x/{task}"]'],
    ),
    "alert_url": (
        {'"https://hooks.example/T0/B0"': "https://hooks.example/T0/B0", '"env:HOOK"': "env:HOOK", '"none"': None},
        ['"hooks.example"', '"mailto:anna@example.org"', '"https://"', '"https://x:99999/"', "1", "false"],
    ),
    "alert_command": (
        {"\"mail -s 'a task' anna\"": "mail -s 'a task' anna", '"env:TELL"': "env:TELL", '"none"': None},
        ["\"mail 'anna\"", '"  "', '""', "1", "true", '"env:1"'],
    ),
}  # fmt: skip


def test_a_word_that_is_nearly_right_is_refused_with_the_right_one(site):
    assert problem_with(site, 'coalesce = "latets"\n').endswith("it must be latest, earliest or all (latest?).")


def test_a_list_of_exceptions_may_hold_classes_where_they_are_at_hand():
    class Busy(Exception):
        pass

    assert POLICY_KEYS["retry_on"][0]((ConnectionError, Busy, "shop.Closed")) == "ConnectionError,Busy,shop.Closed"
    assert POLICY_KEYS["retry_on"][0](TimedOut) == "dracotask.errors.TimedOut"
    with pytest.raises(ValueError, match="no name of an exception"):
        POLICY_KEYS["retry_on"][0]((int,))
    with pytest.raises(ValueError, match="names of exceptions"):
        POLICY_KEYS["retry_on"][0](["OSError"] * 51)


def test_every_key_has_its_examples():
    assert set(EXAMPLES) == set(ALL_KEYS)


def test_a_run_is_spared_the_keys_that_have_a_default():
    assert {key for key, (_, default) in ALL_KEYS.items() if default is None} == set(NO_DEFAULT)


GOOD = [(key, toml, value) for key, (good, _) in EXAMPLES.items() for toml, value in good.items()]
BAD = [(key, toml) for key, (_, bad) in EXAMPLES.items() for toml in bad]


@pytest.mark.parametrize(("key", "toml", "value"), GOOD)
def test_a_value_is_read_and_read_again_from_what_was_written_down(site, key, toml, value):
    config = config_of(site, f"{key} = {toml}\n")
    assert config.problem is None
    assert config.value(key) == getattr(config, key) == value
    assert config.origin(key) == "dracotask.toml"

    config.save(site)
    assert read_config(site).value(key) == value


@pytest.mark.parametrize(("key", "toml"), BAD)
def test_a_wrong_value_is_refused_with_its_place(site, key, toml):
    problem = problem_with(site, f"{key} = {toml}\n")
    assert f"{site.config_file}: {key} = " in problem
    assert "cannot be" in problem


@pytest.mark.parametrize("toml", ["1e-5", "0.00001", "1e22"])
def test_what_is_taken_from_the_file_can_always_be_read_back(site, toml):
    # (Such numbers are written with an exponent, which people never write.)
    for key in ALL_KEYS:
        config = config_of(site, f"{key} = {toml}\n")
        config.value(key)


# -- Precedence --------------------------------------------------------------------------------


def test_without_a_file_the_defaults_are_in_force(tmp_path):
    config = read_config(State(str(tmp_path)))
    assert {key: config.value(key) for key in KEYS} == {
        "timezone": None, "state": None, "host": None, "python": None, "enabled": True, "max_running": 4,
        "late_after": 300.0, "load_limit": 30.0, "listener_limit": 30.0, "console_url": None,
        "metrics_token": None,
    }  # fmt: skip
    assert {key: config.value(key) for key in POLICY_KEYS} == DEFAULT_POLICY
    assert {config.origin(key) for key in ALL_KEYS} == {"default"}
    assert (config.problem, config.policy("Any"), config.environment(), config.tables) == (None, {}, {}, {})
    # And nothing was made by reading
    assert list(tmp_path.iterdir()) == []


def test_a_variable_wins_over_the_file(site, monkeypatch):
    config = config_of(site, 'max_running = 7\nenabled = true\ntime_limit = "1h"\n')
    monkeypatch.setenv("DRACOTASK_MAX_RUNNING", "2")
    monkeypatch.setenv("DRACOTASK_ENABLED", "0")
    monkeypatch.setenv("DRACOTASK_TIME_LIMIT", "none")
    assert (config.max_running, config.enabled, config.time_limit) == (2, False, None)
    assert config.origin("max_running") == "DRACOTASK_MAX_RUNNING" == variable("max_running")
    assert config.policy("Any") == {"time_limit": None}


@pytest.mark.parametrize(
    ("key", "words"),
    [("max_running", "four"), ("nice", "-5"), ("nice", "x"), ("enabled", "maybe"), ("late_after", "")],
)
def test_a_variable_that_makes_no_sense_is_refused_by_its_name(site, monkeypatch, key, words):
    monkeypatch.setenv(variable(key), words)
    with pytest.raises(ConfigError, match=variable(key)):
        read_config(site).value(key)


def test_the_table_of_a_task_wins_over_what_stands_for_all(site):
    config = config_of(site, 'time_limit = "1h"\nnice = 5\n[task.Report]\ntime_limit = "none"\nmax_instances = 2\n')
    assert config.policy("Report") == {"time_limit": None, "nice": 5, "max_instances": 2}
    assert config.policy("Other") == {"time_limit": 3600.0, "nice": 5}


def test_a_config_has_no_other_attributes(site):
    with pytest.raises(AttributeError):
        _ = read_config(site).max_runing


# -- What the file may not say -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("max_runing = 3", "unknown key. Did you mean max_running?"),
        ("Timezone = 'UTC'", "unknown key. Did you mean timezone?"),
        ("[task.Report]\ntime_limt = 3", "[task.Report] time_limt: unknown key. Did you mean time_limit?"),
        ("[task.Report]\ntimezone = 'UTC'", "[task.Report] timezone: unknown key."),
        ("[tasks.Report]\nnice = 3", "unknown table [tasks]. Did you mean task?"),
        ("[task]\nnice = 3", "[task] holds one table for each task: write [task.nice]."),
        ("[task.Report]\nnice = 33", "[task.Report] nice = 33 cannot be"),
        ("task = 3", "task is a table: write [task] on a line of its own."),
        ("env = 'A=1'", "env is a table"),
        ("config = 3", "config is a table"),
        ("[[task]]\nnice = 3", "task is a table"),
        ("[env]\nDEBUG = 1", "[env] DEBUG: an environment variable is a text in quotes."),
        ('[env]\nA = "\\u0000"', "[env] A: an environment variable"),
        ('[env]\n"A=B" = "x"', "cannot be the name of an environment variable"),
        ('[env]\n"" = "x"', "cannot be the name of an environment variable"),
        ('[env]\n"A\\u0000" = "x"', "cannot be the name of an environment variable"),
        ("max_running = ", "not TOML"),
        ("max_running = 3\nmax_running = 4", "not TOML"),
    ],
)
def test_what_cannot_be_understood_is_named_with_the_remedy(site, toml, words):
    problem = problem_with(site, toml + "\n")
    assert words in problem
    assert problem.startswith(site.config_file)
    assert "\n" not in problem


def test_a_file_that_is_no_text_or_no_file_is_refused(site):
    Path(site.config_file).write_bytes(b"host = \"caf\xe9\"\n")
    assert "not UTF-8" in (read_config(site).problem or "")
    os.unlink(site.config_file)
    os.mkdir(site.config_file)
    assert "no regular file" in (read_config(site).problem or "")


def test_the_reader_of_the_file_raises_for_its_caller(site):
    write(site, "nonsense = 1\n")
    with pytest.raises(ConfigError, match="nonsense"):
        read_file(site.config_file, KEYS, POLICY_KEYS)


# -- Tables ------------------------------------------------------------------------------------


def test_the_tables_are_kept_as_they_are(site):
    config = config_of(
        site,
        """
        [env]
        LANG = "de_DE.UTF-8"
        EMPTY = ""
        [config]
        to = ["anna", "bert"]
        [config.mail]
        port = 25
        [database]
        url = "sqlite:///data.db"
        """,
    )
    assert config.environment() == {"LANG": "de_DE.UTF-8", "EMPTY": ""}
    assert config.tables == {
        "config": '{"to": ["anna", "bert"], "mail": {"port": 25}}',
        "database": '{"url": "sqlite:///data.db"}',
    }


# -- Written down ------------------------------------------------------------------------------

AWKWARD = "tab\t, lines\r\n\v\f\x1c\x85\u2028, \\back\\nslash, quote\", ünï, \U0001f409, \\u0041"


def test_what_is_written_down_is_read_back_letter_by_letter(site):
    # Given values with everything in them that could end a line or a word
    config = Config({f"env.{AWKWARD}": AWKWARD, "host": "web1"}, {"config": AWKWARD}, stamp="1 2 3")
    config.problem = AWKWARD

    # When they are saved
    config.save(site)
    with open(site.config_in_force, encoding="ascii") as file:
        back = Config.from_text(file.read())

    # Then nothing is lost, and the file is nobody else's business
    assert back is not None
    assert (back.values, back.tables, back.problem, back.stamp) == (config.values, config.tables, AWKWARD, "1 2 3")
    assert os.stat(site.config_in_force).st_mode & 0o777 == 0o600
    assert [name for name in os.listdir(site.path) if name.startswith("config.")] == []


@pytest.mark.parametrize(
    "text",
    [
        "", "\n", "\n\n\n", "\0\0\0\0", "dracotask 1\n\n", "dracotask 1\t-\n", "dracotask 0\t-\nproblem\t\n",
        "dracotask 1\t-\nproblem\n", "dracotask 1\t-\nproblem\t", "dracotask 1\t-\nproblem\t\\u12\n",
    ],
)
def test_a_text_that_is_not_whole_is_not_believed(site, text):
    Path(site.config_in_force).write_text(text)
    write(site, "max_running = 9\n")
    assert read_config(site).max_running == 9


def test_an_unchanged_file_is_not_read_again(site):
    # Given a configuration that was written down for the file as it is
    config_of(site, "max_running = 7\n").save(site)

    # When what is written down says otherwise than the file
    text = Path(site.config_in_force).read_text().replace("max_running\t7\n", "max_running\t8\n")
    Path(site.config_in_force).write_text(text)

    # Then it is believed, for the file is the one it speaks of
    config = read_config(site)
    assert (config.max_running, config.is_fresh) == (8, False)


def test_a_changed_file_is_read_and_to_be_written_down(site):
    config_of(site, "max_running = 7\n").save(site)
    config = config_of(site, "max_running = 8\n")
    assert (config.max_running, config.is_fresh) == (8, True)
    config.save(site)
    assert (config.is_fresh, read_config(site).is_fresh) == (False, False)


def test_a_file_that_was_taken_away_is_in_force_no_more(site):
    config_of(site, "max_running = 7\n").save(site)
    os.unlink(site.config_file)

    config = read_config(site)
    assert (config.max_running, config.is_fresh) == (4, True)
    config.save(site)
    assert (read_config(site).max_running, read_config(site).is_fresh) == (4, False)


def test_a_broken_file_leaves_the_last_good_one_in_force(site):
    # Given a good file
    config_of(site, "max_running = 7\n[env]\nA = 'a'\n").save(site)

    # When it is saved half-written
    config = config_of(site, "max_running = 9\n[env\n")

    # Then the old values stay, everybody hears why, and the file is read once
    for seen in (config, _saved(site, config)):
        assert (seen.max_running, seen.environment()) == (7, {"A": "a"})
        assert "not TOML" in (seen.problem or "")
    assert read_config(site).is_fresh is False

    # And when it is mended, all is well
    mended = config_of(site, "max_running = 9\n")
    assert (mended.max_running, mended.problem) == (9, None)


def _saved(site: State, config: Config) -> Config:
    config.save(site)
    return read_config(site)


def test_a_file_that_never_was_good_leaves_the_defaults(site):
    config = config_of(site, "max_running = 'many'\n")
    assert config.max_running == 4
    assert config.problem


def test_nothing_heavy_is_imported_while_the_file_is_unchanged(site):
    # Given a site whose configuration is written down
    config_of(site, 'max_running = 7\n[config]\nto = "anna"\n').save(site)
    program = (
        "import sys; from dracotask.siteconfig import find_state, read_config\n"
        f"config = read_config(find_state({site.docroot!r}))\n"
        "heavy = {'tomllib', 'json', 're', 'dracotask.configfile'} & set(sys.modules)\n"
        "print(config.max_running, sorted(heavy))"
    )

    # When another process reads it
    ended = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, env=_bare())

    # Then it has done without TOML
    assert ended.stdout == "7 []\n", ended.stderr


def _bare() -> dict[str, str]:
    return {"PYTHONPATH": str(Path(__file__).parent.parent), "PATH": os.environ["PATH"]}


# -- Where the state lies ----------------------------------------------------------------------


def test_the_state_lies_in_the_docroot_unless_told_otherwise(tmp_path):
    assert find_state(str(tmp_path)).path == str(tmp_path / ".dracotask")
    (tmp_path / "dracotask.toml").write_text("# state = 'commented out'\nmax_running = 3\n")
    assert find_state(str(tmp_path)).path == str(tmp_path / ".dracotask")


@pytest.mark.parametrize(
    "toml",
    ["state = '/var/x'", 'state="/var/x"', '  "state" = "/var/x"', "'state' = '/var/x'", "nice=3\nstate='/var/x'"],
)
def test_the_key_moves_the_state(tmp_path, toml):
    (tmp_path / "dracotask.toml").write_text(toml + "\n[config]\nstate = 'another'\n")
    state = find_state(str(tmp_path))
    assert (state.path, state.docroot) == ("/var/x", str(tmp_path))


def test_a_key_in_a_table_does_not_move_the_state(tmp_path):
    (tmp_path / "dracotask.toml").write_text("[config]\nstate = '/var/x'\n")
    assert find_state(str(tmp_path)).path == str(tmp_path / ".dracotask")


def test_the_variable_moves_the_state_before_the_key(tmp_path, monkeypatch):
    (tmp_path / "dracotask.toml").write_text("state = '/var/x'\n")
    monkeypatch.setenv("DRACOTASK_STATE", "/var/y")
    assert find_state(str(tmp_path)).path == "/var/y"


def test_a_relative_state_is_within_the_docroot_and_a_tilde_is_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/anna")
    monkeypatch.setenv("DRACOTASK_STATE", "var/state")
    assert find_state(str(tmp_path)).path == str(tmp_path / "var" / "state")
    monkeypatch.setenv("DRACOTASK_STATE", "~/state")
    assert find_state(str(tmp_path)).path == "/home/anna/state"
    monkeypatch.delenv("DRACOTASK_STATE")
    (tmp_path / "dracotask.toml").write_text("state = '~/elsewhere'\n")
    assert find_state(str(tmp_path)).path == "/home/anna/elsewhere"


@pytest.mark.parametrize("broken", ["nice = ", "[env", "nice = 3\nnice = 4", "x = 'caf\xe9'"])
def test_a_slip_elsewhere_in_the_file_does_not_move_the_state_back(tmp_path, broken):
    # Given a site whose state lies elsewhere, with all its history and holds
    (tmp_path / "dracotask.toml").write_bytes(f'state = "/var/x"\n{broken}\n'.encode("latin-1"))

    # Then it is not forgotten for a file saved half-written
    assert find_state(str(tmp_path)).path == "/var/x"


def test_a_state_that_is_no_text_moves_nothing(tmp_path):
    for toml in ("state = 3", "state = ''", "state = [", "state.x = 1"):
        (tmp_path / "dracotask.toml").write_text(toml + "\n")
        assert find_state(str(tmp_path)).path == str(tmp_path / ".dracotask")
