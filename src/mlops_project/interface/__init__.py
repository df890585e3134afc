"""The Python interface, ``import mlops_project as mlops``: thin calls of what the commands call."""
