"""Prefect's server, workers and deployments on this machine: `make up` and `make down`."""
