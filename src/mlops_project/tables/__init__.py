"""Reading a table, naming its columns' types, judging it, splitting it. ``data_prep`` puts the steps together."""
