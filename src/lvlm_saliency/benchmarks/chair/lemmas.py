"""The `lemmatizer` variant's words: NLTK's part-of-speech tagger, then WordNet's lemma (scorers.md 1.1, 1.3).

This is the CHAIR of OPERA and of most decoding papers. Verb readings create objects ("seated" -> seat -> chair) and
lose some ("potted plant"), and "men" stays "men". All of that comes from the tagger and from WordNet, so NLTK and its
data have to be there: the extra `lvlm-saliency[chair]`, and two downloads.
"""

from __future__ import annotations

from functools import lru_cache

from lvlm_saliency.errors import InputError

_NOUN, _WORDNET_CLASS = "n", {"J": "a", "V": "v", "N": "n", "R": "r"}
_DATA = ("averaged_perceptron_tagger_eng", "wordnet")


def lemmas(tokens: list[str]) -> list[str]:
    """The lemma of each token, given the tagger's reading of the whole list.

    Raises `InputError` when NLTK or its data is not installed.
    """
    return [lemma(token, _WORDNET_CLASS.get(tag[0], _NOUN)) for token, tag in tag(tokens)]


def tag(tokens: list[str]) -> list[tuple[str, str]]:
    """Penn Treebank tags of `tokens` from NLTK's averaged perceptron."""
    nltk = require_nltk()
    return nltk.pos_tag(tokens)


@lru_cache(maxsize=65536)
def lemma(word: str, word_class: str = _NOUN) -> str:
    """WordNet's lemma of `word` as a noun "n", verb "v", adjective "a" or adverb "r"."""
    return require_nltk().stem.WordNetLemmatizer().lemmatize(word, word_class)


@lru_cache(maxsize=1)
def require_nltk():
    """The `nltk` module, once it and both of its data sets answer."""
    try:
        import nltk
    except ImportError as missing:
        raise InputError(
            "the lemmatizer variant needs NLTK: pip install 'lvlm-saliency[chair]' "
            f"and then python -m nltk.downloader {' '.join(_DATA)}"
        ) from missing
    try:
        nltk.pos_tag(["word"])
        nltk.stem.WordNetLemmatizer().lemmatize("words")
    except LookupError as missing:
        raise InputError(
            "NLTK is installed, but its tagger or WordNet data is not: "
            f"python -m nltk.downloader {' '.join(_DATA)} (NLTK_DATA says where they lie)"
        ) from missing
    return nltk
