"""From an alert to a promoted model: what starts a retraining, the gate that judges it, and the way back."""
