"""Where a stack's models are: the registry that is asked, and the folder that a training run works in."""

from __future__ import annotations

from pathlib import Path

from connectors.mlflow_store import MlflowStore
from connectors.model_registry import FolderRegistry, ModelRegistry
from deploy.stack.running import RunningStack


def registry_of(stack: RunningStack) -> ModelRegistry:
    """MLflow where it is a part of the stack, else the folder `models` of its state."""
    if stack.mlflow_url:
        return MlflowStore(stack.mlflow_url, stack.folder.root / "model-copies")
    return FolderRegistry(stack.folder.root / "models")


def training_folder(stack: RunningStack) -> Path:
    """Of the one run that may be at work."""
    return stack.folder.root / "training"
