"""Tree ensembles, evaluated by everyone who does."""
