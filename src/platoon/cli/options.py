"""What several commands share: overrides from ``--set``, and how results and errors reach the terminal."""

import json
import sys
import tomllib
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from rich.console import Console

from platoon.errors import HaltedError, UserError, VerificationError, WorkerError

stderr = Console(stderr=True, highlight=False)
stdout = Console(highlight=False)

DONE, CHECK_FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def parse_overrides(settings: Sequence[str]) -> dict[str, Any]:
    """``key=value`` pairs; a value is TOML where it parses as TOML, else text.

    >>> parse_overrides(["fleet.vehicles=12", "method=fedavg", "roads.speed_kmh=[30, 50]"])
    {'fleet.vehicles': 12, 'method': 'fedavg', 'roads.speed_kmh': [30, 50]}
    """
    return dict(_parse_override(setting) for setting in settings)


def _parse_override(setting: str) -> tuple[str, Any]:
    key, separator, text = setting.partition("=")
    if not separator or not key.strip():
        raise UserError(f"--set {setting}: allowed is key=value, as in --set fleet.vehicles=100")
    try:
        return key.strip(), tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), text.strip()


def print_json(value: Any) -> None:
    """One JSON object on standard output, and nothing else."""
    sys.stdout.write(json.dumps(value, indent=1) + "\n")


def stop(code: int, message: str) -> NoReturn:
    """End the program with a one-line message on standard error."""
    if message:
        stderr.print(f"platoon: {message}", markup=False, soft_wrap=True)
    raise SystemExit(code)


def guarded(
    command: Callable[[], None],
    interrupted: str = "every round that was shown is saved, `platoon resume DIR` goes on",
) -> None:
    """Run a command; the mistakes of users and failed checks become one line and an exit code."""
    try:
        command()
    except UserError as error:
        stop(BAD_INPUT, str(error))
    except (VerificationError, HaltedError, WorkerError) as error:
        stop(CHECK_FAILED, str(error))
    except KeyboardInterrupt:
        stop(INTERRUPTED, f"interrupted; {interrupted}")
    except BrokenPipeError:
        raise SystemExit(DONE) from None
