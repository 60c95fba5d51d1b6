"""The long fault run: `python -m tests.faults.long --help`."""
