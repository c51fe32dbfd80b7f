"""Metrics: what there is to count and to measure of a site, as Prometheus reads it.

All of it is worked out when somebody asks, from the store and the state folder that all processes share. So each worker
gives the same answer, none of them has to count anything, and the registry of the program around us is let alone.
"""

from __future__ import annotations

import re
from collections import Counter
from platform import python_version
from typing import NamedTuple

from .errors import ControlError, DracotaskError
from .model import ENDED, NEVER_STARTED, QUEUED, RUNNING, waits_for_retry
from .report.reading import Notes, really
from .state import is_locked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime
    from typing import Any

    from .model import Run
    from .report.desk import Desk
    from .stores.base import Store
    from .stores.reading import Glance

    #: A number with the name of its metric and the values of that one's labels.
    Sample = tuple[str, tuple[str, ...], float]


class Metric(NamedTuple):
    """One metric, as it is named in Prometheus.

    :param kind: ``gauge``, ``counter`` or ``info``.
    :param text: what it is, as HELP has it.
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    text: str


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return Metric(f"dracotask_{name}", "gauge", labels, text)


def _of_schedule(name: str, text: str) -> Metric:
    return _gauge(f"schedule_{name}", text, "schedule", "task")


#: All there are, in the order in which they are written.
METRICS = (
    Metric(
        "dracotask_info", "info", ("version", "python", "code"),
        "The version of dracotask and of Python, and the digest of the code in force with the commit of its checkout.",
    ),
    _gauge("load_ok", "Whether the task file is in force: 0 while it is broken and its last good version stays."),
    _gauge("config_ok", "Whether dracotask.toml is in force: 0 while it is broken and its last good version stays."),
    _gauge("site_enabled", "Whether anything starts by itself: 0 while enabled = false."),
    _gauge("site_held", "Whether somebody holds the whole site."),
    _gauge("last_look_timestamp_seconds", "When somebody has last looked for what is due, by who did.", "by"),
    _gauge("slots", "How many runs may be at work at once (max_running), those by hand aside."),
    _gauge("slots_busy", "How many of these slots are taken on this host."),
    _gauge("queue_runs", "How many runs wait: to start, or for their retry.", "waits_for"),
    _gauge("queue_wait_seconds", "How long the run has waited that has waited longest to start; 0 when none does."),
    _of_schedule("next_fire_timestamp_seconds", "When it is due next; nothing on demand, or while it is held."),
    _of_schedule("late_seconds", "For how long it has been due and has not been claimed; 0 while it is held."),
    _of_schedule("held", "Whether somebody holds it, or the whole site."),
    _of_schedule("running_runs", "How many runs of it are at work."),
    _of_schedule("failures_in_a_row", "How many of its runs have failed since one has succeeded."),
    _of_schedule("last_start_timestamp_seconds", "When its newest run has started, or the last attempt of that."),
    _of_schedule("last_success_timestamp_seconds", "When its newest run that succeeded has ended."),
    _of_schedule("last_duration_seconds", "How long its newest run that is over was at work."),
    Metric(
        "dracotask_runs_total", "counter", ("task", "state"),
        "How many runs are over, by how they ended; what never started counts each fire time.",
    ),
    Metric("dracotask_run_seconds_total", "counter", ("task", "state"), "How long runs that are over were at work."),
)  # fmt: skip

_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]{0,99}", re.ASCII)

#: An Accept header that says more than that is not looked at.
_ACCEPT = re.compile(r"[\w.*+/;=:, -]{0,500}", re.ASCII)


def exposition(
    desk: Desk, store: Store, now: datetime, *, accept: str = "", labels: Mapping[str, str] | None = None
) -> tuple[bytes, str]:
    """Return the metrics of a site as a text, and the type of its content.

    :param accept: the header of the request: OpenMetrics for whoever asks for it, else Prometheus' own format.
    :param labels: to be added to each of them, which tell it from those of another site.
    :raises DracotaskError: prometheus_client is not there.
    """
    try:
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import choose_encoder
    except ImportError as error:
        raise DracotaskError("Metrics need prometheus_client: pip install dracotask[metrics]") from error
    # Read before anything is written: an error of the store comes out as it is.
    found = [*samples(desk, store, now)]
    registry = CollectorRegistry()
    registry.register(_Collector(found, checked_labels(labels or {})))
    try:
        encode, kind = choose_encoder(accept if _ACCEPT.fullmatch(accept) else "")
    except (TypeError, ValueError):  # a version that is none
        encode, kind = choose_encoder("")
    return encode(registry), kind


def checked_labels(labels: Mapping[str, str]) -> Mapping[str, str]:
    """Return labels that may be added.

    :raises ControlError: a name that no label may have, or that one of ours has.
    """
    ours = {label for metric in METRICS for label in metric.labels}
    for name in labels:
        if not _LABEL.fullmatch(name):
            raise ControlError(f"{name!r:.60} is no name of a label: letters, digits and _, and no __ before them.")
        if name in ours:
            raise ControlError(f"{name!r:.60} is the name of a label that there is already.")
    return labels


class _Collector:
    """Hands samples over to prometheus_client."""

    def __init__(self, found: Iterable[Sample], labels: Mapping[str, str]) -> None:
        self._found: dict[str, list[tuple[tuple[str, ...], float]]] = {}
        for name, values, number in found:
            self._found.setdefault(name, []).append((values, number))
        self._labels = labels

    def collect(self) -> Iterator[Any]:
        for metric in METRICS:
            family = _family(metric, [*self._labels, *metric.labels])
            for values, number in self._found.get(metric.name, ()):
                if metric.kind == "info":
                    family.add_metric([], {**self._labels, **dict(zip(metric.labels, values, strict=True))})
                else:
                    family.add_metric([*self._labels.values(), *values], number)
            yield family


def _family(metric: Metric, labels: list[str]) -> Any:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

    if metric.kind == "info":
        return InfoMetricFamily(metric.name.removesuffix("_info"), metric.text)
    name = metric.name.removesuffix("_total")
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    return kind(name, metric.text, labels=labels, unit="seconds" if name.endswith("_seconds") else "")


# -- What there is to tell ---------------------------------------------------------------------


def samples(desk: Desk, store: Store, now: datetime) -> Iterator[Sample]:
    """Yield what there is to count and to measure."""
    notes = Notes(store)
    # (Without a transaction, which would keep the writers waiting: of two questions the later may know more.)
    glances = [glance for glance in store.glances() if not glance.vanished_at]
    yield from _of_site(desk, notes)
    yield from _of_queue(store.runs(states=(QUEUED,), limit=None), now)
    yield from _of_schedules(glances, store, desk, now, site_held=notes.site_hold is not None)
    yield from _of_tasks({glance.task for glance in glances}, store)


def _of_site(desk: Desk, notes: Notes) -> Iterator[Sample]:
    from . import __version__

    config, state = desk.config, desk.state
    yield "dracotask_info", (__version__, python_version(), notes.code or ""), 1
    yield "dracotask_load_ok", (), notes.was_loaded and not notes.problem
    yield "dracotask_config_ok", (), not config.problem
    yield "dracotask_site_enabled", (), config.enabled
    yield "dracotask_site_held", (), notes.site_hold is not None
    for looker, moment in state.last_seen().items():
        yield "dracotask_last_look_timestamp_seconds", (looker,), moment.timestamp()
    slots = range(1, config.max_running + 1)
    yield "dracotask_slots", (), len(slots)
    yield "dracotask_slots_busy", (), sum(is_locked(state.slot(number)) for number in slots)


def _of_queue(queued: list[Run], now: datetime) -> Iterator[Sample]:
    to_start = [run for run in queued if not waits_for_retry(run, now)]
    yield "dracotask_queue_runs", ("start",), len(to_start)
    yield "dracotask_queue_runs", ("retry",), len(queued) - len(to_start)
    waits = [(now - (run.not_before or run.queued_at)).total_seconds() for run in to_start]
    yield "dracotask_queue_wait_seconds", (), max([0.0, *waits])


def _of_schedules(
    glances: list[Glance], store: Store, desk: Desk, now: datetime, *, site_held: bool
) -> Iterator[Sample]:
    endings = store.endings()
    at_work = Counter(run.schedule for run in store.running() if really(store, desk.state, run).state == RUNNING)
    for glance in glances:
        of = (glance.name, glance.task)
        is_held = bool(glance.held_at) or site_held
        due = None if is_held else glance.next_fire_time
        if due:
            yield "dracotask_schedule_next_fire_timestamp_seconds", of, due.timestamp()
        yield "dracotask_schedule_late_seconds", of, max((now - due).total_seconds(), 0) if due else 0
        yield "dracotask_schedule_held", of, is_held
        yield "dracotask_schedule_running_runs", of, at_work[glance.name]
        yield "dracotask_schedule_failures_in_a_row", of, glance.failures
        if glance.last_started_at:
            yield "dracotask_schedule_last_start_timestamp_seconds", of, glance.last_started_at.timestamp()
        ending = endings.get(glance.name)
        if ending and ending.succeeded_at:
            yield "dracotask_schedule_last_success_timestamp_seconds", of, ending.succeeded_at.timestamp()
        if ending and ending.seconds is not None:
            yield "dracotask_schedule_last_duration_seconds", of, ending.seconds


def _of_tasks(tasks: set[str], store: Store) -> Iterator[Sample]:
    tallies = store.tallies()
    # From nought, and not from the first one on: else Prometheus would not see the first of a kind come.
    kinds = {(task, state) for task in tasks for state in (*ENDED, *NEVER_STARTED)}
    for task, state in sorted(tallies.keys() | kinds):
        tally = tallies.get((task, state))
        yield "dracotask_runs_total", (task, state), tally.runs if tally else 0
        if state in ENDED:
            yield "dracotask_run_seconds_total", (task, state), tally.seconds if tally else 0
