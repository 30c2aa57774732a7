"""The `lemmatizer` variant's words: NLTK's part-of-speech tagger, then WordNet's lemma.

This is the CHAIR of OPERA and of most decoding papers. Verb readings create objects ("seated" -> seat -> chair) and
lose some ("potted plant"), and "men" stays "men". All of that comes from the tagger and from WordNet.
"""

from __future__ import annotations

from lvlm_saliency.benchmarks import nltk_tools

_WORDNET_CLASS = {"J": "a", "V": "v", "N": "n", "R": "r"}


def lemmas(tokens: list[str]) -> list[str]:
    """The lemma of each token, given the tagger's reading of the whole list; other classes count as nouns.

    Raises `InputError` when NLTK or its data is not installed.
    """
    return [nltk_tools.lemma(token, _WORDNET_CLASS.get(tag[0], "n")) for token, tag in nltk_tools.tags(tokens)]
