"""PostgreSQL: a schema and a role for each module, what the record agent writes, and the history that the edge reads.

It never holds what a decision depends on: with PostgreSQL down, tips go on, and history catches up.
Its parts are imported by their own names: a worker that writes decisions need not load what migrates the schema.
"""
