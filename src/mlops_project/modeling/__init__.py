"""Model building: the pipeline, its evaluation and its exact export."""
