"""One spelling for texts that read the same, so that equal answers compare as equal."""

import re
import unicodedata

# Marks that show nothing: zero-width space, word joiner, byte order mark, soft hyphen, directions of writing, and the
# selectors that choose a character's colour or width.
_INVISIBLE = re.compile("[\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe0e\ufe0f\ufeff]")
# Joiners spell words in Arabic, Indic and other scripts and join emoji; beside these letters they mean nothing.
_JOINERS = re.compile(
    "(?:(?<=[\\s!-\u05ff\u1e00-\u1fff\u2000-\u200b\u2010-\u2bff\u2e80-\ud7ff\uf900-\ufaff\uff00-\uffef])|^)[\u200c\u200d]+"
    "(?=[\\s!-\u05ff\u1e00-\u1fff\u2e80-\ud7ff\uf900-\ufaff\uff00-\uffef]|$)"
)


def comparable(text: str) -> str:
    """Return `text` in Unicode form NFC, without marks that show nothing.

    A composed é is then a decomposed one. Joiners (U+200C, U+200D) stay where a script or an emoji needs them: in
    Persian and Hindi they spell another word.
    """
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _JOINERS.sub("", _INVISIBLE.sub("", text)))
