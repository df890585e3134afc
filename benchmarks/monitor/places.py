"""Where things are."""

from pathlib import Path

HERE = Path(__file__).parent
BENCH = HERE.parent.parent / "build" / "bench"
BUILD = BENCH / "monitor"
