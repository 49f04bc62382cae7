"""Runs in Feast's own environment, `python worker.py FOLDER`: takes a question a line, as JSON, and answers it by Feast, as Feast has it.

It mends nothing: what Feast does otherwise is the caller's to meet (training/feast/store.py). Only the standard library and Feast's are imported.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def main() -> None:
    """Answer until the questions end."""
    # What Feast prints is no answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    folder = sys.argv[1]
    sys.path.insert(0, folder)
    import pandas as pd
    import people  # the repository's own
    from feast import FeatureStore
    from feast.data_source import PushMode

    store = FeatureStore(folder)
    view, names = people.people, list(people.columns)  # The view's own are in no order.
    features = [f"{view.name}:{name}" for name in names]

    def apply() -> None:
        store.apply([people.person, people.rows, people.told, view])

    def history(asked: list[list[Any]]) -> Any:
        whose, times = zip(*asked, strict=True)
        frame = pd.DataFrame(
            {"person": whose, "event_timestamp": pd.to_datetime(times, unit="ms", utc=True), "asked": range(len(asked))}
        )
        found = store.get_historical_features(frame, features).to_df()
        return json.loads(found[["asked", *names]].to_json(orient="values"))

    def online(asked: list[str]) -> Any:
        found = store.get_online_features(features, [{"person": one} for one in asked]).to_dict()
        return [list(row) for row in zip(*(found[name] for name in names), strict=True)]

    def push(rows: list[dict[str, Any]]) -> None:
        frame = pd.DataFrame(rows)
        for name in ("event_timestamp", "created"):
            frame[name] = pd.to_datetime(frame[name], unit="ms", utc=True)
        store.push(people.told.name, frame.astype(dict.fromkeys(names, "Int64")), to=PushMode.ONLINE)

    def clear() -> None:
        store._get_provider().teardown_infra(store.project, [view], [people.person])  # noqa: SLF001  # it has no other word for it
        apply()

    ways = {"history": history, "online": online, "push": push, "clear": clear}
    apply()
    for line in sys.stdin:
        way, *given = json.loads(line)
        try:
            said = {"is": ways[way](*given)}
        except Exception as error:  # noqa: BLE001  # the caller's to raise
            said = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(said) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
