"""The configuration: its schema, its composition, its checks and messages; imports no torch."""
