"""What ``python -m rdasde.pruning.recipes`` does with checkpoints, beside training them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from . import compare, theory_command, valley_command

COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "valley": valley_command.main,
    "compare": compare.main,
    "theory": theory_command.main,
}


def run(name: str, arguments: Sequence[str]) -> int:
    """Returns the exit status."""
    try:
        COMMANDS[name](arguments)
    except (ImportError, OSError, ValueError, ArithmeticError) as error:
        print(f"rdasde.pruning.recipes {name}: {error}", file=sys.stderr)
        return 1
    return 0
