"""A pipeline that was fitted elsewhere → a bundle, by the steps of training."""
