"""The night report: what the night was like, in numbers, plots and pictures."""
