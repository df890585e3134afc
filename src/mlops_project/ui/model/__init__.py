"""The page Model: how good the model is, what it was trained on, its card."""
