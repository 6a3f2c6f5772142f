"""What ``python -m rdasde.pruning.recipes`` does with checkpoints, beside training them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from . import compare, theory_command, valley_command
from .pictures import Known

COMMANDS: dict[str, Callable[[Sequence[str], Known], None]] = {
    "valley": valley_command.main,
    "compare": lambda arguments, known: compare.main(arguments),
    "theory": theory_command.main,
}


def run(name: str, arguments: Sequence[str], known: Known) -> int:
    """Returns the exit status. Of several processes, by torchrun, the first does all the work."""
    rank = os.environ.get("RANK", "0")
    if rank != "0":
        print(f"rdasde.pruning.recipes {name}: left to process 0; this is {rank}.", file=sys.stderr)
        return 0
    try:
        COMMANDS[name](arguments, known)
    except (ImportError, OSError, ValueError, ArithmeticError) as error:
        print(f"rdasde.pruning.recipes {name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nrdasde.pruning.recipes {name}: interrupted; the same command goes on.", file=sys.stderr)
        return 130
    return 0
