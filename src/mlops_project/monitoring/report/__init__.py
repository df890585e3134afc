"""A window's evaluation as a page: verdict, plots, tables, in one file that needs nothing else."""
