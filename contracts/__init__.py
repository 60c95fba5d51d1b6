"""The contracts: what anyone needs who publishes or reads our events. Imports pydantic and the standard library."""
