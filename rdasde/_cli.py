"""The command line: ``rdasde figure NAME``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, draw, say what was written. Returns the exit status: 0, or 2 for a bad request."""
    parser = argparse.ArgumentParser(
        prog="rdasde", description="Regularized dual averaging, its ODE/SDE limit, and bands through the mirror map."
    )
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    figure = commands.add_parser("figure", help="redraw a figure", description="Redraw figures as PNG and PDF.")
    figure.add_argument("names", nargs="*", metavar="NAME", help="which ones; see --list")
    figure.add_argument("--list", action="store_true", help="name the figures there are")
    figure.add_argument("--out", type=Path, default=Path("figures"), metavar="DIR", help="where to (default: figures)")
    options = parser.parse_args(arguments)

    if options.version:
        import rdasde

        print(f"rdasde {rdasde.__version__}")
        return 0
    if options.command is None:
        parser.print_help()
        return 0
    return _figure(options)


def _figure(options: argparse.Namespace) -> int:
    from rdasde import _figures

    if options.list:
        width = max(map(len, _figures.FIGURES))
        for name, what in _figures.FIGURES.items():
            print(f"{name:{width}}  {what}")
        return 0
    unknown = [name for name in options.names if name not in _figures.FIGURES]
    if unknown or not options.names:
        got = f"no figure is named {unknown[0]!r}" if unknown else "no figure is named"
        print(f"rdasde figure: {got}; there are {', '.join(_figures.FIGURES)}.", file=sys.stderr)
        return 2
    for name in options.names:
        try:
            files = _figures.save(_figures.draw(name), name, options.out)
        except (ImportError, OSError) as error:
            print(f"rdasde figure: {error}", file=sys.stderr)
            return 1
        print("\n".join(map(str, files)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
