"""The page Predict: one case, its prediction, why, and what if."""
