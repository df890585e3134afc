"""Everything that touches MLflow: the model format, the store, runs and the registry."""
