"""Progress: plain lines off a terminal, bars with the time left on one."""

import io
import os
import pty
import select
from collections.abc import Iterator

import pytest
from rich.console import Console

from amplitune.study.execution import progress as module
from amplitune.study.execution.progress import Progress


class Clock:
    """Time that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_plain_lines_off_a_terminal(clock: Clock) -> None:
    output = io.StringIO()
    progress = Progress(Console(file=output, width=40))
    progress.begin(["a", "b", "c"], already=2)
    for label, reason in (("a", None), ("b", "OutOfMemoryError: 3 [GiB] and " + "x" * 60), ("c", None)):
        progress.started(label)
        progress.update(label, {"phase": "training", "done": 1, "total": 4})
        clock.now += 90
        progress.finished(label, 90.0, reason)
    progress.end()
    assert output.getvalue().splitlines() == [
        "2 run(s) are there already and are kept.",
        "[1/3] a: done in 1 min 30 s, about 3 min 00 s left",
        "[2/3] b: failed: OutOfMemoryError: 3 [GiB] and "
        + "x" * 60
        + " in 1 min 30 s, about 1 min 30 s left",
        "[3/3] c: done in 1 min 30 s",
    ]


def test_nothing_to_do() -> None:
    output = io.StringIO()
    progress = Progress(Console(file=output, width=80))
    progress.begin([], already=4)
    progress.end()
    assert output.getvalue().splitlines()[-1] == "Nothing is missing."


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (3599, "59 min 59 s"), (7261, "2 h 01 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert module._duration(seconds) == text


@pytest.fixture
def terminal() -> Iterator[tuple[int, Console]]:
    """A pseudo-terminal's reading end, and a console that writes to it."""
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as file:
        yield master, Console(file=file, width=120, force_interactive=True, color_system=None)
    os.close(master)


def shown(master: int, text: str) -> str:
    """Read what a terminal was sent until a text has come, or nothing more does."""
    screen = ""
    while text not in screen and select.select([master], [], [], 2.0)[0]:
        screen += os.read(master, 65536).decode(errors="replace")
    return screen


def test_bars_on_a_terminal_show_the_time_left(clock: Clock, terminal: tuple[int, Console]) -> None:
    master, console = terminal
    assert console.is_terminal
    progress = Progress(console)
    progress.begin(["t / lora / seed 0", "t / qaa / seed 0"], already=0)
    progress.started("t / lora / seed 0")
    clock.now += 30
    progress.update("t / lora / seed 0", {"phase": "training", "done": 50, "total": 100})
    assert progress._bars is not None
    progress._bars.refresh()
    # Half of the first of two runs took 30 s.
    assert "0/2, about 1 min 30 s left" in shown(master, "30 s left")
    progress._bars.refresh()
    assert "training 50/100" in shown(master, "training 50/100")
    progress._bars.refresh()
    assert "ETA" in shown(master, "ETA")
    clock.now += 30
    progress.finished("t / lora / seed 0", 60.0, None)
    progress.started("t / qaa / seed 0")
    progress.update("t / qaa / seed 0", {})
    progress.end()
    line = "[1/2] t / lora / seed 0: done in 1 min 00 s, about 1 min 00 s left"
    assert line in shown(master, line)
