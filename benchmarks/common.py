"""What the benchmarks share: a clean environment, throw-away sites, medians, one way to print."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
DRACOTASK = [sys.executable, str(CHECKOUT / "bin" / "dracotask.py")]

#: Bytecode is written and output buffered, as in production, whatever the shell at hand prefers.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DRACOTASK_"))}
sys.path.insert(0, str(CHECKOUT))


@contextmanager
def site(tasks: str) -> Iterator[Path]:
    """Yield a docroot with this task file; it goes away afterwards."""
    with tempfile.TemporaryDirectory(prefix="dracotask-bench-") as folder:
        docroot = Path(folder)
        (docroot / "__tasks__.py").write_text(tasks)
        yield docroot


def dracotask(docroot: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DRACOTASK, str(docroot), *words], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )


def seconds(command: Sequence[str]) -> float:
    """Return how long a command takes from its start to its end."""
    begun = time.perf_counter()
    subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


def interleaved(commands: dict[str, Sequence[str]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each command, measured in turns so that noise meets all alike."""
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            taken[name].append(seconds(command))
    return {name: statistics.median(values) for name, values in taken.items()}


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def say(title: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Print a title and rows in columns."""
    print(f"\n{title}")
    texts = [[f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    widths = [max(len(row[number]) for row in texts) for number in range(len(texts[0]))]
    for row in texts:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
