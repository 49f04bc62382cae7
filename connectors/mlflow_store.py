"""MLflow as the registry of models, over its REST API: a run for each version, with its parameters, metrics, plots and files.

It imports nothing of MLflow. Returning from `register` means that the version is there with all its files; whether MLflow keeps them is not promised
(`mlflow gc` takes files of versions that are still named), so whoever serves one keeps a copy.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from connectors.model_registry import ABOUT, RegistryFault, Version

TIMEOUT_S = 30.0
EXPERIMENT = "oo"
FILES = "model"
"""The folder of a run's artifacts that is the model."""
PAGE = 100
PARAMETERS = (
    *("model", "feature_version", "fingerprint", "commit", "build", "erasures", "unshared", "journal_id", "trained_on"),
    *("read_to", "rows", "wait_s", "from", "to", "calibrated", "export", "audit", "parted_ms"),
)
"""What of a model.json is a parameter of its run."""
MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""What MLflow 3.17 says of a version, a run or an alias that is not there: the last of an alias."""
_KEY = re.compile(r"[^A-Za-z0-9_\-./ ]")


class _Refused(RegistryFault):
    """MLflow answered with an error, whose code this has."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class MlflowStore:
    """A server at `url`; see connectors.model_registry.ModelRegistry. Every call raises RegistryFault where it does not answer."""

    url: str
    copies: Path = field(default_factory=lambda: Path(tempfile.gettempdir()) / "oo-models")
    """Where `fetch` puts what it brings, and finds it again."""

    def names(self) -> list[str]:
        """The models that there are."""
        with self._client() as client:
            return sorted(one["name"] for one in _pages(client, "registered-models/search", "registered_models"))

    def aliased(self, name: str, alias: str) -> int | None:
        """Which version an alias names; None where there is no such alias, or model."""
        with self._client() as client:
            return self._aliases(client, name).get(alias)

    def fetch(self, name: str, version: int) -> Path:
        """A folder with the version's files, on this machine: brought once, and whole."""
        home = self.copies / name / str(version)
        if (home / ABOUT).exists():
            return home
        home.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._client() as client, tempfile.TemporaryDirectory(prefix=".new-", dir=home.parent) as fresh:
            made = Path(fresh) / "version"
            self._download(client, self._version(client, name, version)["source_path"], made)
            about = json.loads((made / ABOUT).read_text())
            (made / ABOUT).write_text(json.dumps({**about, "name": name, "version": version}, indent=1) + "\n")
            with suppress(OSError):  # Somebody was quicker.
                made.rename(home)
        return home

    def versions(self, name: str = "") -> list[Version]:
        """See ModelRegistry. Of a version whose files are gone `about` is empty."""
        found = []
        with self._client() as client:
            for model in [name] if name else self.names():
                aliases = self._aliases(client, model)
                for one in self._of(client, model):
                    number = int(one["version"])
                    named = tuple(sorted(alias for alias, at in aliases.items() if at == number))
                    found.append(Version(model, number, self._about(client, one), named))
        return sorted(found, key=lambda one: (one.name, one.version))

    def register(self, name: str, files: Path) -> int:
        """See ModelRegistry. A run that was cut off on its way is marked as killed by the next one."""
        about = json.loads((files / ABOUT).read_text())
        with self._client() as client:
            experiment = self._experiment(client)
            self._bury(client, experiment)
            said = {
                "experiment_id": experiment,
                "run_name": f"{name} {about.get('model', '')}".strip(),
                "start_time": _now_ms(),
                "tags": [{"key": "oo.model", "value": name}],
            }
            run = _post(client, "runs/create", said)["run"]["info"]["run_id"]
            try:
                self._track(client, run, about)
                for path in sorted(one for one in files.rglob("*") if one.is_file()):
                    within = path.relative_to(files)
                    place = f"{FILES}/{within}" if within.parts[0] != "plots" else str(within)
                    _checked(client.put(_artifact(experiment, run, place), content=path.read_bytes()))
                _post(client, "runs/update", {"run_id": run, "status": "FINISHED", "end_time": _now_ms()})
                with suppress(_Refused):
                    _post(client, "registered-models/create", {"name": name})
                made = _post(
                    client,
                    "model-versions/create",
                    {
                        "name": name,
                        "source": f"runs:/{run}/{FILES}",
                        "run_id": run,
                        "tags": [
                            {"key": f"oo.{key}", "value": _text(about[key])}
                            for key in ("trained_on", "read_to", "erasures", "feature_version", "fingerprint", "commit")
                            if key in about
                        ],
                    },
                )
            except BaseException:
                with suppress(RegistryFault):
                    _post(client, "runs/update", {"run_id": run, "status": "FAILED", "end_time": _now_ms()})
                raise
        return int(made["model_version"]["version"])

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """See ModelRegistry."""
        with self._client() as client:
            self._version(client, name, version)
            _post(client, "registered-models/alias", {"name": name, "alias": alias, "version": str(version)})

    def drop_alias(self, name: str, alias: str) -> None:
        """See ModelRegistry."""
        with self._client() as client, suppress(_Refused):
            _delete(client, "registered-models/alias", {"name": name, "alias": alias})

    def remove(self, name: str, version: int) -> None:
        """See ModelRegistry. Its run goes with it; MLflow drops aliases that named it without a word."""
        with self._client() as client:
            found = self._version(client, name, version)
            _delete(client, "model-versions/delete", {"name": name, "version": str(version)})
            if run := found.get("run_id"):
                with suppress(_Refused):
                    _checked(client.delete(f"/api/2.0/mlflow-artifacts/artifacts/{found['run_path']}"))
                _post(client, "runs/delete", {"run_id": run})
        shutil.rmtree(self.copies / name / str(version), ignore_errors=True)

    @contextmanager
    def _client(self) -> Iterator[httpx.Client]:
        try:
            with httpx.Client(base_url=self.url, timeout=TIMEOUT_S, trust_env=False) as client:
                yield client
        except httpx.HTTPError as error:
            raise RegistryFault(
                f"MLflow at {self.url} does not answer ({type(error).__name__}): 'oo status' shows whether it runs, 'oo up --ml' starts it"
            ) from None

    def _experiment(self, client: httpx.Client) -> str:
        try:
            found = _get(client, "experiments/get-by-name", {"experiment_name": EXPERIMENT})
            return str(found["experiment"]["experiment_id"])
        except _Refused as refused:
            if refused.code not in MISSING:
                raise
        return str(_post(client, "experiments/create", {"name": EXPERIMENT})["experiment_id"])

    def _bury(self, client: httpx.Client, experiment: str) -> None:
        """Mark what a killed run left: one runs at a time, so none is at work now."""
        said = {
            "experiment_ids": [experiment],
            "filter": "attributes.status = 'RUNNING'",
            "max_results": PAGE,
        }
        for one in _post(client, "runs/search", said).get("runs", []):
            run = one["info"]["run_id"]
            with suppress(_Refused):
                _checked(client.delete(f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts"))
            _post(client, "runs/update", {"run_id": run, "status": "KILLED", "end_time": _now_ms()})

    def _track(self, client: httpx.Client, run: str, about: Mapping[str, Any]) -> None:
        now_ms = _now_ms()
        said = {
            "run_id": run,
            "params": [{"key": key, "value": _text(about[key])} for key in PARAMETERS if key in about],
            "metrics": [
                {"key": _KEY.sub("_", key), "value": value, "timestamp": now_ms, "step": 0}
                for key, value in about.get("metrics", {}).items()
            ],
        }
        _post(client, "runs/log-batch", said)

    def _aliases(self, client: httpx.Client, name: str) -> dict[str, int]:
        try:
            found = _get(client, "registered-models/get", {"name": name})["registered_model"]
        except _Refused as refused:
            if refused.code in MISSING:
                return {}
            raise
        return {one["alias"]: int(one["version"]) for one in found.get("aliases", [])}

    def _of(self, client: httpx.Client, name: str) -> Iterator[dict[str, Any]]:
        return _pages(client, "model-versions/search", "model_versions", {"filter": f"name='{name}'"})

    def _version(self, client: httpx.Client, name: str, version: int) -> dict[str, Any]:
        try:
            one: dict[str, Any] = _get(client, "model-versions/get", {"name": name, "version": str(version)})[
                "model_version"
            ]
        except _Refused as refused:
            if refused.code in MISSING:
                raise RegistryFault(f"there is no {name}@{version}: 'oo models list' shows those that are") from None
            raise
        return one | self._places(client, one)

    def _places(self, client: httpx.Client, one: Mapping[str, Any]) -> dict[str, str]:
        """Where its run and its files are among the artifacts of the server."""
        said = {"name": one["name"], "version": one["version"]}
        where = str(_get(client, "model-versions/get-download-uri", said)["artifact_uri"])
        path = where.partition("mlflow-artifacts:")[2].lstrip("/")
        if not path and where.startswith("runs:/"):
            run, _, within = where.removeprefix("runs:/").partition("/")
            uri = str(_get(client, "runs/get", {"run_id": run})["run"]["info"]["artifact_uri"])
            path = f"{uri.partition('mlflow-artifacts:')[2].lstrip('/')}/{within}"
        return {"source_path": path, "run_path": path.rpartition("/")[0]}

    def _about(self, client: httpx.Client, one: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            path = self._places(client, one)["source_path"]
            answer = _checked(client.get(f"/api/2.0/mlflow-artifacts/artifacts/{quote(path)}/{ABOUT}"))
            about: dict[str, Any] = answer.json()
        except (_Refused, ValueError):
            return {}
        return {**about, "name": one["name"], "version": int(one["version"])}

    def _download(self, client: httpx.Client, path: str, into: Path) -> None:
        into.mkdir()
        listed = _checked(client.get("/api/2.0/mlflow-artifacts/artifacts", params={"path": path})).json()
        for one in listed.get("files", []):
            name = Path(one["path"]).name
            if one.get("is_dir"):
                self._download(client, f"{path}/{name}", into / name)
            else:
                answer = _checked(client.get(f"/api/2.0/mlflow-artifacts/artifacts/{quote(path)}/{quote(name)}"))
                (into / name).write_bytes(answer.content)
        if into.name == "version" and not (into / ABOUT).exists():
            raise RegistryFault(f"the files of {path} are gone from MLflow: 'oo train' makes a new version")


def _artifact(experiment: str, run: str, place: str) -> str:
    return f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/{quote(place)}"


def _pages(
    client: httpx.Client, call: str, what: str, said: Mapping[str, str] | None = None
) -> Iterator[dict[str, Any]]:
    token = ""
    while True:
        found = _get(
            client, call, {**(said or {}), "max_results": str(PAGE), **({"page_token": token} if token else {})}
        )
        yield from found.get(what, [])
        token = found.get("next_page_token", "")
        if not token:
            return


def _get(client: httpx.Client, call: str, said: Mapping[str, str]) -> dict[str, Any]:
    return _json(_checked(client.get(f"/api/2.0/mlflow/{call}", params=dict(said))))


def _post(client: httpx.Client, call: str, said: Mapping[str, Any]) -> dict[str, Any]:
    return _json(_checked(client.post(f"/api/2.0/mlflow/{call}", json=dict(said))))


def _delete(client: httpx.Client, call: str, said: Mapping[str, Any]) -> None:
    _checked(client.request("DELETE", f"/api/2.0/mlflow/{call}", json=dict(said)))


def _json(answer: httpx.Response) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()
    return found


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    try:
        said = answer.json()
        code, text = str(said.get("error_code", answer.status_code)), str(said.get("message", ""))
    except ValueError:
        code, text = str(answer.status_code), answer.text
    if answer.status_code == httpx.codes.NOT_FOUND:
        code = MISSING[0]
    raise _Refused(code, f"MLflow refuses {answer.request.url.path}: {' '.join(text.split())[:300] or code}")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
