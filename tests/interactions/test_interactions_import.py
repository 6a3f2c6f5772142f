"""PyTorch is imported when it is asked for, and asked for in one sentence where it is missing."""

import subprocess
import sys

SCRIPT = """
import sys
import rdasde
assert "torch" not in sys.modules
assert "interactions" in dir(rdasde)
assert "interactions" not in rdasde.__all__
sys.modules["torch"] = None  # as if it were not installed
try:
    rdasde.interactions
except ImportError as error:
    print(error)
"""


def test_without_pytorch():
    process = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True)
    sentence = "rdasde.interactions needs PyTorch, which is not installed: pip install 'rdasde[torch]'.\n"
    assert process.stdout == sentence
