"""What the janitor does, one kind a file: first what is to go, as pure functions, then its going."""
