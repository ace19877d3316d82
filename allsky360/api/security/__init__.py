"""Who may read what, and how often."""
