"""Prefect flows: the story of a burst, of a night, of a reprocessing."""
