"""A text file is read in the encoding that it is in, or not at all."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.data.files.encodings import Decoded, decode
from harness.data.files.read import read_file
from harness.errors import InvalidData

_PATH = Path("rows.csv")
_CHINESE = "text,label\n你好吗,问候\n再见了,告别\n"
_FRENCH = "text,label\nOù est le café ?,question\nTrès bien,réponse\n"
_CHARACTERS = st.characters(codec="utf-8", exclude_categories=["Cs"])


@given(st.text(_CHARACTERS))
def test_what_is_utf8_is_read_as_utf8(text: str) -> None:
    content = text.encode()
    assume(not content.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")))
    assume(b"\x1b$" not in content and b"\0" not in content)

    assert decode(content, _PATH).encoding == "UTF-8"
    assert decode(b"\xef\xbb\xbf" + content, _PATH).text == decode(content, _PATH).text


@given(st.text(_CHARACTERS), st.sampled_from(["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]))
def test_a_byte_order_mark_leaves_no_doubt(text: str, name: str) -> None:
    assume("\ufeff" not in text)
    assume(not (name == "utf-16-le" and text.startswith("\0")))  # the mark of UTF-32 begins with that of UTF-16

    decoded = decode(f"\ufeff{text}".encode(name), _PATH)

    assert (decoded.text, decoded.sure) == (text, True)


@given(st.binary())
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with contextlib.suppress(InvalidData):
        assert isinstance(decode(content, _PATH), Decoded)


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=4))
def test_ascii_in_utf16_without_a_mark_is_read(text: str) -> None:
    for name in ("utf-16-le", "utf-16-be"):
        assert decode(text.encode(name), _PATH).text == text


@pytest.mark.parametrize(
    ("text", "name", "encoding"),
    [
        (_CHINESE, "gb18030", "GB18030"),
        (_CHINESE, "utf-16-le", "UTF-16"),
        (_CHINESE, "utf-16-be", "UTF-16"),
        ("text\n一二三一一\n", "utf-16-le", "UTF-16"),
        ("打开厨房的灯", "gb18030", "GB18030"),
        (_FRENCH, "latin-1", "Windows-1252"),
        (_FRENCH, "utf-16-le", "UTF-16"),
        ("text,label\nSchöne Grüße,de\n", "latin-1", "Windows-1252"),
        ("text,label\n¿Dónde está mañana el niño?,es\n", "latin-1", "Windows-1252"),
        ("text,label\nIt’s a “fine” café – 5 €,en\n", "cp1252", "Windows-1252"),
    ],
)
def test_an_encoding_is_found_and_said(text: str, name: str, encoding: str) -> None:
    decoded = decode(text.encode(name), _PATH)

    assert (decoded.text, decoded.encoding, decoded.sure) == (text, encoding, False)
    assert decoded.example in text


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("привет, как дела", "cp1251"),
        ("привет, как дела", "koi8-r"),
        ("안녕하세요 불을 켜 주세요", "euc-kr"),
        ("こんにちは。電気をつけて", "shift-jis"),
        ("こんにちは。電気をつけて", "euc-jp"),
        ("請打開廚房的燈", "big5"),
        ("Příliš žluťoučký kůň", "cp1250"),
        ("Proszę włączyć światło", "cp1250"),
        ("Jestem w domu i nie mogę spać", "iso8859-2"),
        ("Am adăugat lapte și nu știu", "iso8859-16"),
        ("Où est le café ?", "mac-roman"),
        ("Où est le café ?", "cp850"),
        ("Schöne Grüße an die Übrigen", "cp437"),
        ("Καλημέρα", "cp1253"),
        ("مرحبا بك", "cp1256"),
        ("สวัสดีครับ", "cp874"),
    ],
)
def test_an_encoding_in_doubt_is_refused(text: str, name: str) -> None:
    with pytest.raises(InvalidData, match="not UTF-8, and the text is not surely UTF-16, GB18030 or Windows-1252"):
        decode(f"text,label\n{text},a\n".encode(name), _PATH)


@pytest.mark.parametrize(
    "text", ["你好，请打开厨房的灯。", "Où est le café ? Très bien.", "Es tut mir leid, schöne Grüße"]
)
def test_utf8_with_a_byte_lost_is_no_other_encoding(text: str) -> None:
    content = f"text,label\n{text},a\n".encode()
    for place in (place for place, byte in enumerate(content) if byte > 0x7F):
        damaged = content[:place] + content[place + 1 :]
        with pytest.raises(InvalidData, match="is not UTF-8"):
            decode(damaged, _PATH)


def test_a_file_says_how_it_was_read(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_bytes(_CHINESE.encode("gb18030"))
    (tmp_path / "joined.csv").write_text("\ufefftext,label\na,b\n\ufefftext,label\nc,d\n", encoding="utf-8")

    old, joined = read_file(tmp_path / "old.csv"), read_file(tmp_path / "joined.csv")

    assert [row.values for row in old.rows] == [
        {"text": "你好吗", "label": "问候"},
        {"text": "再见了", "label": "告别"},
    ]
    assert [(note.kind, note.text) for note in old.notes] == [("encoding", "was read as GB18030, with '你好吗' in it")]
    assert [row.values for row in joined.rows] == [{"text": "a", "label": "b"}, {"text": "c", "label": "d"}]
    assert [(note.kind, note.count) for note in joined.notes] == [("replaced", 1), ("left_out", 1)]
