"""How a step is run: as a task of Prefect."""
