"""The lake: decisions, outcomes and signals of the log as files that other tools read (docs/lake.md)."""
