"""The monitor that goes on running: rounds over the log, and what it says of them over HTTP."""
