"""Our monitoring against other tools: ``python -m benchmarks.monitor``."""
