"""The read service."""
