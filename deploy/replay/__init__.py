"""Runs of `oo replay`: ranges of the journal folded again apart from what is live, into Parquet files of a run's own.

It reads Kafka and PostgreSQL, and writes below the run's folder alone (`sink.py`): what produces, publishes or promotes is never imported here.
"""
