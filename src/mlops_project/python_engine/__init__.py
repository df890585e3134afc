"""The Python engine: pipelines without an exact graph, answered by scikit-learn in a process of their own."""
