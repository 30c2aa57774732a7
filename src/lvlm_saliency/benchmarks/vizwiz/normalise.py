"""How an answer is brought to the form in which answers are compared: two official ways, which differ in detail."""

from __future__ import annotations

import re

from lvlm_saliency.errors import SettingError, did_you_mean

VARIANTS = ("vizwiz_api", "llava_m4c")

# Both ways delete each of these, or put a blank in its place.
_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_DIGITS = "none zero one two three four five six seven eight nine ten"
_NUMBERS = dict(zip(_DIGITS.split(), (0, *range(11)), strict=True))
_ARTICLES = ("a", "an", "the")
_FULL_STOP = re.compile(r"\.(?!\d)")
_COMMAS = {"llava_m4c": re.compile(r"(?<=\d),+(?=\d)"), "vizwiz_api": re.compile(r"\d,\d")}
# The official call passes a flag (whose value is 32) where the number of replacements belongs.
_AT_MOST = int(re.UNICODE)

# Contractions that lose their one apostrophe ("dont" -> "don't"). Forms with a capital never meet lower-cased text.
_ONE = """
ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll how's isn't
it'd it'll ma'am might've mightn't must've mustn't needn't not've o'clock oughtn't shan't should've shouldn't
somebody'll somebody's someone'd someone'll someone's something'd something'll that's there'd there're there's they'd
they'll they're they've 'twas wasn't we've weren't what'll what're what's what've when's where'd where's where've
who'd who'll who's who've why'll why're why's won't would've wouldn't y'all you'd you'll you're you've
"""
# Contractions with two, of which either may be missing.
_TWO = """
couldn't've hadn't've he'd've it'd've mightn't've she'd've shouldn't've somebody'd've someone'd've something'd've
there'd've they'd've we'd've who'd've wouldn't've y'all'll you'd've
"""
# The tables' own odd rows.
_ODD = {
    "let's": "let's",
    "she's": "she's",
    "somebody'd": "somebodyd",
    "ow's'at": "'ow's'at",
    "'ows'at": "'ow's'at",
    "'ow'sat": "'ow's'at",
    "yall'd've": "y'all'd've",
    "y'alld've": "y'all'd've",
    "y'all'dve": "y'all'd've",
}
# Rows of VizWiz's table whose result keeps the straight apostrophe, and keys that do.
_STRAIGHT = ("aint", "arent", "cant", "couldve", "couldnt", "weve", "wheres", "whove")
_STRAIGHT_KEYS = ("couldn'tve", "hadn'tve")


def _table() -> dict[str, str]:
    found = {word.replace("'", ""): word for word in _ONE.split()}
    for word in _TWO.split():
        first = word.index("'")
        second = word.index("'", first + 1)
        for place in (first, second):
            found[word[:place] + word[place + 1 :]] = word
    return {**found, **_ODD}


def _marked_otherwise(table: dict[str, str]) -> dict[str, str]:
    """VizWiz's own table: nearly every apostrophe is a back-tick, so that "dont" becomes no proper word."""
    found = {}
    for key, word in table.items():
        keeps = key in _STRAIGHT_KEYS
        found[key if keeps else key.replace("'", "`")] = word if key in _STRAIGHT else word.replace("'", "`")
    return found


_CONTRACTIONS = {"llava_m4c": _table(), "vizwiz_api": _marked_otherwise(_table())}


def normalise(text: str, variant: str = "vizwiz_api") -> str:
    """`text` as answers are compared.

    "vizwiz_api" (VizWiz's own) and "llava_m4c" (LLaVA's and lmms-eval's, which also makes upload files) both delete
    punctuation or put blanks in its place, drop full stops that no digit follows, articles, and spell small numbers in
    digits; "llava_m4c" first lower-cases, deletes commas and question marks and sets "'s" apart; "vizwiz_api"
    lower-cases last, and its table of contractions has typographic marks that no ground truth has.

    Raises:
        SettingError: an unknown variant.
    """
    if variant not in VARIANTS:
        raise SettingError(f"no VizWiz variant {variant!r}{did_you_mean(variant, VARIANTS)}")
    if variant == "llava_m4c":
        text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    text = _without_marks(text.replace("\n", " ").replace("\t", " ").strip(), variant)
    words = [str(_NUMBERS.get(word, word)) for word in text.lower().split()]
    contractions = _CONTRACTIONS[variant]
    return " ".join(contractions.get(word, word) for word in words if word not in _ARTICLES)


def _without_marks(text: str, variant: str) -> str:
    out = text
    number = _COMMAS[variant].search(text) is not None
    for mark in _MARKS:
        beside_a_blank = f"{mark} " in text or f" {mark}" in text
        out = out.replace(mark, "" if beside_a_blank or number else " ")
    return _FULL_STOP.sub("", out, count=_AT_MOST)
