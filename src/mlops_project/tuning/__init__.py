"""The search for parameters: what is tried, how it is judged, where trials are kept, and what is told of them."""
