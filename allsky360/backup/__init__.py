"""Backup and restore of what an installation is beside its archive: settings, database, lenses."""
