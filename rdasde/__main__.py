"""``python -m rdasde``: the command line."""

import sys

from rdasde._cli import main

if __name__ == "__main__":
    sys.exit(main())
