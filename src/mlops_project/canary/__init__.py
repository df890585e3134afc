"""A challenger that answers a growing share of the requests, and goes back by itself if it does worse than the champion."""
