"""What jobs are on the Prefect server: queries that both its databases answer."""
