"""Where many tasks run at a time: processes of this machine, or actors of a Ray cluster."""
