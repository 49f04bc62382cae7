"""Where a stack's models are: the registry that is asked, and the folder that a training run works in."""

from __future__ import annotations

from pathlib import Path

from connectors.model_registry import FolderRegistry, ModelRegistry
from deploy.stack.running import RunningStack


def registry_of(stack: RunningStack) -> ModelRegistry:
    """The registry of this stack: the folder `models` of its state, where no server is told."""
    return FolderRegistry(stack.folder.root / "models")


def training_folder(stack: RunningStack) -> Path:
    """Of the one run that may be at work."""
    return stack.folder.root / "training"
