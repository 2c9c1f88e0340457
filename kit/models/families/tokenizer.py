"""A model's own tokenizer.json, proven on a sentence whose ids are published."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from kit.errors import CannotRunError
from kit.storage.file_kinds import why_no_json
from kit.words import Reason

TOKENIZER = "tokenizer.json"


def proven_tokenizer(
    companions: Mapping[str, Path],
    text: str,
    ids: list[int],
    *,
    source_url: str | None,
    most_tokens: int | None = None,
) -> Any:
    """The tokenizer among the companions, which makes `ids` of `text`. Raises CannotRunError.

    tokenizer.json alone, through the tokenizers library: with a file missing, transformers 5's
    AutoTokenizer builds a dummy that maps every word to <unk> and says nothing. `most_tokens` takes the
    place of the file's own truncation.
    """
    if TOKENIZER not in companions:
        raise CannotRunError(
            Reason("text_needs", file=TOKENIZER), Reason("fetch_beside", source=str(source_url))
        )
    tokenizer = read_tokenizer(companions[TOKENIZER], most_tokens)
    made = tokenizer.encode(text).ids
    if made != ids:
        raise CannotRunError(
            Reason(
                "other_tokenizer",
                file=TOKENIZER,
                text=repr(text),
                made=str(made[:12]),
                ids=str(ids),
            ),
            Reason("fetch_again_from", source=str(source_url)),
        )
    return tokenizer


@lru_cache(maxsize=1)
def read_tokenizer(path: Path, most_tokens: int | None = None) -> Any:
    """The tokenizer of a file, without padding. Read once: it is asked for with every text, and is
    megabytes of JSON. Raises CannotRunError for a damaged file."""
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises a bare Exception
        what, cure = why_no_json(path.read_bytes(), error)
        raise CannotRunError(Reason("of_file", file=TOKENIZER, what=what), cure) from error
    tokenizer.no_padding()
    if most_tokens is not None:
        tokenizer.enable_truncation(most_tokens)
    return tokenizer
