"""What training writes about its held-out rows for the monitor to compare with: profile, thresholds, calibration, metrics."""
