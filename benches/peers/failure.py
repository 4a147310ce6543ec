"""Commands that succeed, or fail in one line."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

# A panic of Seam then ends with its message.
QUIET = {"RUST_BACKTRACE": "0"}


class Failure(Exception):
    """What is wrong and what to do about it, on one line."""


def run(
    command: Sequence[str | Path],
    what: str,
    remedy: str,
    environment: dict[str, str] | None = None,
) -> str:
    """What the command prints; `what` and `remedy` become the message where it fails."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=os.environ | QUIET | (environment or {}),
            check=False,
        )
    except OSError as e:
        raise Failure(f"{what}: {command[0]}: {e.strerror}: {remedy}") from e
    if done.returncode:
        raise Failure(f"{what}: {last_line(done.stderr)}: {remedy}")
    return done.stdout


def last_line(text: str) -> str:
    """The line of an output that most likely says what went wrong."""
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("note:")]
    errors = [line for line in lines if line.lower().startswith("error")]
    return (errors or lines or ["no message"])[-1]
