"""Bytes: raw logs, archives, downloads, checksums."""
