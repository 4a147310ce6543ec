"""Processes that take turns: while one is timed, the others are stopped."""

import os
import signal
import statistics
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from failure import QUIET, Failure, last_line

# Seconds for one answer; loading a network counts.
PATIENCE = 300
# Milliseconds that the timed inferences of one turn should take together.
TURN = 30
LEAST_REPS, MOST_REPS = 3, 50


@dataclass
class Command:
    """A peer that answers a line N on standard input with N lines of milliseconds."""

    peer: str
    arguments: Sequence[str | Path]
    environment: dict[str, str]


class Live:
    """A peer's process, loaded, and stopped while it is not its turn."""

    def __init__(self, command: Command, log: Path) -> None:
        self.peer, self.log, self.reps = command.peer, log, LEAST_REPS
        with log.open("w") as errors:
            try:
                self.process = subprocess.Popen(
                    [str(a) for a in command.arguments],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                    env=os.environ | QUIET | command.environment,
                    start_new_session=True,
                )
            except OSError as e:
                raise Failure(f"{self.peer}: {command.arguments[0]}: {e.strerror}") from e
        try:
            times = self.ask(3)
        except Failure:
            self.close()
            raise
        self.reps = min(max(round(TURN / times[-1]), LEAST_REPS), MOST_REPS)
        self.signal(signal.SIGSTOP)

    def turn(self) -> float:
        """Milliseconds: the median of some inferences after one that warms up."""
        self.signal(signal.SIGCONT)
        times = self.ask(1 + self.reps)
        self.signal(signal.SIGSTOP)
        return statistics.median(times[1:])

    def ask(self, n: int) -> list[float]:
        watch = threading.Timer(PATIENCE, self.process.kill)
        watch.start()
        try:
            self.process.stdin.write(f"{n}\n")
            self.process.stdin.flush()
            return [float(self.process.stdout.readline()) for _ in range(n)]
        except (ValueError, BrokenPipeError) as e:
            said = last_line(self.log.read_text(errors="replace"))
            late = "" if watch.is_alive() else f" (no answer in {PATIENCE} s)"
            raise Failure(f"{self.peer} gave no time{late}: {said}: see {self.log}") from e
        finally:
            watch.cancel()

    def signal(self, number: signal.Signals) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def interleave(peers: Sequence[Live], rounds: int) -> Iterator[tuple[int, str, float]]:
    """Every peer once a round, every other round in the opposite order: (round, peer, ms)."""
    for number in range(rounds):
        for live in peers if number % 2 == 0 else reversed(peers):
            yield number, live.peer, live.turn()
