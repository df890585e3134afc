"""The page Batch: a file of cases, checked and scored."""
