"""The command line: ``rdasde figure NAME``, ``rdasde run FILE.toml``."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, draw, say what was written. Returns the exit status: 0, or 2 for a bad request."""
    parser = argparse.ArgumentParser(
        prog="rdasde", description="Regularized dual averaging, its ODE/SDE limit, and bands through the mirror map."
    )
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    figure = commands.add_parser(
        "figure",
        help="redraw a figure",
        description="Redraw figures as PNG and PDF, captions and tables beside them in Markdown.",
    )
    figure.add_argument("names", nargs="*", metavar="NAME", help="which ones; see --list")
    figure.add_argument("--list", action="store_true", help="name the figures there are")
    figure.add_argument("--all", action="store_true", help="all that take seconds")
    figure.add_argument("--studies", action="store_true", help="all that take minutes, with their tables")
    figure.add_argument("--store", type=Path, metavar="DIR", help="keep finished pieces of studies, to go on from")
    figure.add_argument(
        "--results", type=Path, metavar="DIR", help="draw figures of stored results from your files there"
    )
    figure.add_argument("--small", action="store_true", help="studies at a small size, to see that they work")
    figure.add_argument("--caption", action="store_true", help="captions below the pictures, not only beside them")
    figure.add_argument(
        "--jobs", type=_count, metavar="N", help="figures that are drawn at once (default: one for each core)"
    )
    figure.add_argument("--out", type=Path, default=Path("figures"), metavar="DIR", help="where to (default: figures)")
    run = commands.add_parser(
        "run",
        help="do what a TOML file says",
        description="Simulate, approximate and take bands of a problem as a TOML file says; results are netCDF files.",
    )
    run.add_argument("file", type=Path, metavar="FILE.toml", help="problem, algorithm, horizon, verbs, output")
    run.add_argument("--seed", type=int, metavar="N", help="in place of the file's")
    run.add_argument("--replicates", type=int, metavar="N", help="in place of the file's")
    run.add_argument("--out", type=Path, metavar="DIR", help="where to, in place of the file's output.folder")
    options = parser.parse_args(arguments)

    if options.version:
        import rdasde

        print(f"rdasde {rdasde.__version__}")
        return 0
    if options.command is None:
        parser.print_help()
        return 0
    return _run(options) if options.command == "run" else _figure(options)


def _run(options: argparse.Namespace) -> int:
    from rdasde import _configuration

    try:
        configuration = _configuration.read(
            options.file, seed=options.seed, replicates=options.replicates, out=options.out
        )
    except _configuration.Mistakes as mistakes:
        for sentence in mistakes.sentences:
            print(f"rdasde run: {sentence}", file=sys.stderr)
        return 2
    try:
        lines = _configuration.run(configuration)
    except OSError as error:
        print(f"rdasde run: {_unwritten(error)}", file=sys.stderr)
        return 1
    except (ValueError, TypeError, ArithmeticError, MemoryError, ImportError) as error:
        print(f"rdasde run: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


def _unwritten(error: OSError) -> str:
    """The sentence about a file that cannot be made."""
    return f"{error.filename or 'a file'} cannot be written: {error.strerror or error}."


def _figure(options: argparse.Namespace) -> int:
    from rdasde import _figures, _studies

    known = _figures.FIGURES | _studies.STUDIES
    if options.list:
        width = max(map(len, known))
        for name, what in known.items():
            print(f"{name:{width}}  {what}{' (minutes)' if name in _studies.STUDIES else ''}")
        return 0
    names = [
        *options.names,
        *(_figures.FIGURES if options.all else ()),
        *(_studies.STUDIES if options.studies else ()),
    ]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        got = f"no figure is named {unknown[0]!r}" if unknown else "no figure is named"
        close = difflib.get_close_matches(unknown[0], known, 1) if unknown else []
        meant = f"did you mean {close[0]!r}? T" if close else "t"
        print(f"rdasde figure: {got}; {meant}here are {', '.join(known)}.", file=sys.stderr)
        return 2
    quick = list(dict.fromkeys(name for name in names if name in _figures.FIGURES))
    jobs = min(options.jobs or os.cpu_count() or 1, len(quick))
    at_once = quick if jobs > 1 else []
    one_by_one = [name for name in names if name not in at_once]
    total = len(at_once) + len(one_by_one)
    pieces = _studies.Pieces(options.store, options.small, progress=True)
    try:
        options.out.mkdir(parents=True, exist_ok=True)  # said before anything is drawn
        if at_once:
            print(f"[0/{total}] {jobs} figures at once ...", file=sys.stderr, flush=True)
            drawing = _figures.draw_at_once(at_once, options.out, jobs, options.caption, options.results)
            for number, drawn in enumerate(drawing, 1):
                print(f"[{number}/{total}] {drawn.name} {drawn.seconds:.1f} s", file=sys.stderr)
                print("\n".join(map(str, drawn.files)), flush=True)
        for number, name in enumerate(one_by_one, 1 + len(at_once)):
            print(f"[{number}/{total}] {name} ...", end="", file=sys.stderr, flush=True)
            begin = time.perf_counter()
            if name in _studies.STUDIES:
                print(file=sys.stderr)
                figure, table = _studies.run(name, pieces)
                files = _figures.save(figure, name, options.out, table=table, caption=options.caption)
            else:
                files = _figures.draw_and_save(name, options.out, options.caption, options.results).files
            print(f" {time.perf_counter() - begin:.1f} s", file=sys.stderr)
            print("\n".join(map(str, files)))
    except OSError as error:
        print(f"\nrdasde figure: {_unwritten(error)}", file=sys.stderr)
        return 1
    except (ImportError, ValueError) as error:
        print(f"\nrdasde figure: {error}", file=sys.stderr)
        return 1
    return 0


def _count(text: str) -> int:
    """A positive whole number."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes: give 1 or more")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
