"""Where things are."""

import sys
from pathlib import Path

HERE = Path(__file__).parent.parent
PROJECT = HERE.parent
BIN = Path(sys.executable).parent
BUILD = PROJECT / "build" / "bench"
