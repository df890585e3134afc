"""Traffic for a model server: rows drawn from a table, faults in them, and the truth that follows late."""
