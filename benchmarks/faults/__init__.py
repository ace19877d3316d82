"""The fault campaign: the whole system runs an accelerated night and is hurt again and again."""
