"""NLTK's tokeniser, part-of-speech tagger and WordNet lemmas, for the scorers whose figures are made of them.

NLTK is the optional extra `lvlm-saliency[chair]`, and its data are downloads of their own. Both are looked for when
first needed, and an `InputError` says in one line how to get what is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from lvlm_saliency.errors import InputError


@lru_cache(maxsize=1)
def _nltk():
    try:
        import nltk
    except ImportError as missing:
        raise InputError(
            "this scorer needs NLTK: pip install 'lvlm-saliency[chair]', then "
            "python -m nltk.downloader averaged_perceptron_tagger_eng wordnet punkt_tab"
        ) from missing
    return nltk


@contextmanager
def _needing(data: str) -> Iterator[None]:
    try:
        yield
    except LookupError as missing:
        if isinstance(missing, KeyError | IndexError):
            raise  # not NLTK's word for data that it did not find
        raise InputError(
            f"NLTK's {data} data is not installed: python -m nltk.downloader {data} (or set NLTK_DATA)"
        ) from missing


def words(text: str) -> list[str]:
    """NLTK's `word_tokenize`; data: punkt_tab."""
    nltk = _nltk()
    with _needing("punkt_tab"):
        return nltk.word_tokenize(text)


def tags(tokens: list[str]) -> list[tuple[str, str]]:
    """Each token with its Penn Treebank tag; data: averaged_perceptron_tagger_eng."""
    nltk = _nltk()
    with _needing("averaged_perceptron_tagger_eng"):
        return nltk.pos_tag(tokens)


@lru_cache(maxsize=65536)
def lemma(word: str, word_class: str = "n") -> str:
    """WordNet's lemma of `word` as noun "n", verb "v", adjective "a" or adverb "r"; data: wordnet."""
    nltk = _nltk()
    with _needing("wordnet"):
        return nltk.stem.WordNetLemmatizer().lemmatize(word, word_class)
