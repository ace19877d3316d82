"""Prefect tasks: retry, timeout and logging around one call into allsky360."""
