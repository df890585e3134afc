"""What the log says of the world: drift against the reference, live and estimated performance, and what to do about it."""
