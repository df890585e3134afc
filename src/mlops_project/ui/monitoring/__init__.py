"""The page Monitoring: what the monitor found, over time and in the newest window."""
