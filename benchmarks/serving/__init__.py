"""The parts of ``serve.py``: models, contestants, processes, load, tables."""
