"""The model server as a caller sees it."""
