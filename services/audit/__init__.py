"""The auditors' tools: read logs and archives of every service, and name what is wrong with them."""
