"""The words that a reader will look for are in the index of the site's search, and lead to pages."""

import json
import re
import sys
from pathlib import Path

WORDS = {"soft-threshold": ("soft", "threshold"), "coverage": ("coverag",), "GRDA": ("grda",)}


def main() -> int:
    """0, or 1 with a line for each word that is not found."""
    text = (Path(__file__).parent / "_build" / "searchindex.js").read_text()
    index = json.loads(re.fullmatch(r"Search\.setIndex\((.*)\)", text, re.DOTALL)[1])
    known = index["terms"] | index["titleterms"]
    missing = 0
    for word, stems in WORDS.items():
        pages = [known.get(stem, []) for stem in stems]
        common = set.intersection(*({page} if isinstance(page, int) else set(page) for page in pages))
        if not common:
            print(f"the search finds nothing for {word!r}", file=sys.stderr)
            missing = 1
    return missing


if __name__ == "__main__":
    sys.exit(main())
