"""Prefect flows, a file each, and the command line. Never imports torch."""
