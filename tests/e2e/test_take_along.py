"""A person takes all along that is known of them: by `oo export` and over HTTP, the same."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from pathlib import Path

from command import called, oo
from outside import client, samples, send, settled, settled_tip, state_of

from deploy.stack.running import RunningStack


def test_what_a_person_brought_and_what_came_of_it_is_in_their_export(stack: RunningStack, tmp_path: Path) -> None:
    user, state = f"along-{uuid.uuid4().hex[:8]}", state_of(stack)
    called("import", str(samples() / "todo.txt"), str(samples() / "google.ics"), "--user", user, state)
    send(stack, "signals", {"user_id": user, "source": "test", "task_upserted": {"title": "No id"}})
    with client(stack, user) as http:
        tip = settled_tip(stack, http)
        for reaction in ("seen", "done"):
            body = {"decision_id": tip["decision_id"], "reaction": reaction}
            assert http.post("/v1/feedback", json=body).status_code == 202
        settled(stack)
        file = tmp_path / "mine.zip"
        said = oo("export", str(file), "--user", user, state).stdout
        assert "README.txt" in said
        assert file.stat().st_mode & 0o777 == 0o600
        found = files(file.read_bytes())
        answer = http.get("/v1/me/export")
        assert answer.status_code == 200
    assert files(answer.content).keys() == found.keys()
    shown = {name: json.loads(text) for name, text in found.items() if name.endswith(".json")}
    kinds = {kind for one in shown["journal.json"] for kind in ("signal", "reaction") if kind in one}
    assert kinds == {"signal", "reaction"}
    (known,) = shown["known.json"]
    assert {task["title"] for task in known["tasks"]} and known["sums"]
    chosen = next(one for one in shown["decisions.json"] if one["decision_id"] == tip["decision_id"])
    assert len(chosen["slate"]) > 5 and any("ineligible" in one for one in chosen["slate"])
    assert {one["kind"] for one in shown["outcomes.json"]} >= {"SEEN", "DONE"}
    past = next(one for one in shown["history.json"] if one["decision_id"] == tip["decision_id"])
    assert (past["outcome"], past["title"]) == ("DONE", tip["title"])
    assert "decision" not in past  # It is in decisions.json.
    assert [one["reason"] for one in shown["refused.json"]] == ["invalid"]
    done = [line for line in found["todo.txt"].splitlines() if line.startswith("x ")]
    assert "SUMMARY" in found["calendar.ics"] and len(found["todo.txt"].splitlines()) > len(done)


def test_an_export_overwrites_no_file_and_leaves_none_half_written(stack: RunningStack, tmp_path: Path) -> None:
    there = tmp_path / "there.zip"
    there.write_text("precious")
    for file, why in ((there, "is there already"), (tmp_path / "none" / "x.zip", "cannot be written")):
        refused = called("export", str(file), "--user", "ada", state_of(stack), check=False)
        assert (refused.returncode, why in refused.stderr) == (1, True), refused.stderr
    assert there.read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["there.zip"]


def files(content: bytes) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(content)) as found:
        return {name: found.read(name).decode() for name in found.namelist()}
