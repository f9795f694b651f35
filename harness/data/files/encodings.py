"""From the bytes of a text file to its text, in the encoding that it is surely in.

UTF-8 and marked UTF-16 or UTF-32 leave no doubt. Unmarked UTF-16, GB18030 and Windows-1252 are told from what the text
would say in them, and refused in any doubt: a wrong guess makes other words of the data, an error does not.
"""

import codecs
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InvalidData

_MARKS = (
    (codecs.BOM_UTF8, "utf-8", "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le", "UTF-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
)
_MARK = "\ufeff"

# The commonest characters of Chinese, about 470: 3 of 4 in running text. In text of another East Asian
# encoding that is misread as GB18030, they are about 1 of 8.
_COMMON = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所"
    "然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与"
    "长把机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己"
    "制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员解水名真论处走义各入几口认条平系"
    "气题活尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社"
    "便空决治展马科司五基眼书非则听白却界达光放强即像难且权思王象完设式色路记南品住告类求据程北边死张该交规万取拉"
    "格望觉术领共确传师观清今切院让识候带导争运笔每往快笑房早级百八调满六七九注请灯厅温客室厨卧播音乐歌窗帘订查店"
    "买钱价货单退款费服付账户号码错误谢您吗呢吧啊哪谁怎怕爱喜欢坏差吃饭菜味病医药痛热冷车票飞钟周末午晚夜岁男孩父"
    "母朋友姐妹哥弟狗猫花草树河湖红绿蓝黄黑字词句译英语汉写读答案否够懂找帮助需"
)
_ENOUGH_COMMON = 0.4
# Letters with marks, by languages that are written in Windows-1252. A file's have to be those of one of them.
_ALPHABETS = tuple(
    frozenset(letters + letters.upper()) - {"Ÿ"}
    for letters in (
        "àâæçéèêëîïôœùûüÿ",
        "äöüß",
        "áéíóúüñ",
        "áâãàçéêíóôõúü",
        "àèéìíîòóùú",
        "åäöæøé",
        "áéèëïíóöúü",
        "àçèéíïòóúü",
    )
)
# These have the same bytes in the encodings of Central Europe, of the Baltic and of Turkish. Others say Czech, Polish,
# Hungarian or Romanian letters there, so words have to tell: those of the one side, those of the other.
_SAFE = frozenset("áéíóúôîäöüßÁÉÍÓÚÔÎÄÖÜ")
_WESTERN_WORDS = (
    "the and of with you what how are this that was please from have "
    "le les des est une dans pour que qui pas sur avec vous il elle et au du où sont "
    "der die das und ist nicht ein eine mit für von den dem auf ich sie wie bitte "
    "el los las por con para como está del não uma em os você isso "
    "che di non per sono gli della het een van niet met voor dat "
    "och att det är inte som på för av og ikke til af jeg els amb és"
)
_EASTERN_WORDS = (
    "nie jest się sie oraz dla czy jak tego przy je se na to ve do si jsem ale jako pro som ako sa su od za sam nije "
    "ne ki az nem hogy egy meg ez este nu cu sau pentru mai bir ve bu mi ir kad yra su ar ka nav v z s k w o u i"
)
_WESTERN, _EASTERN = frozenset(_WESTERN_WORDS.split()), frozenset(_EASTERN_WORDS.split())
_SIGNS = frozenset("‘’“”–—…•€£§©®°«»¡¿·\u00a0™")
_HIGH_RUN = re.compile(rb"[\x80-\xff]{3,}")
# What UTF-8 writes for a letter with a mark and for a Chinese character; in other encodings it is rare.
_UTF8_LETTER = re.compile(rb"[\xc2-\xdf][\x80-\xbf]")
_UTF8_HANZI = re.compile(rb"[\xe3-\xe9][\x80-\xbf]{2}")
_HANZI_PAIR = re.compile("[\u4e00-\u9fff]{2}")
_HANZI_IN_WORD = re.compile("[A-Za-z][\u4e00-\u9fff](?![\u4e00-\u9fff])|(?<![\u4e00-\u9fff])[\u4e00-\u9fff][A-Za-z]")
# What stands in no text: a sign or a capital inside a word, a hard space beside a space or inside a word, a lone
# sign. The bytes of DOS and Macintosh files and of Big5 would put them there.
_NO_TEXT = re.compile(
    r"[^\W\d_][“”–—…•€£§©®°«»¡¿™](?=[^\W\d_])|[a-zß-ÿ][À-Þ]"
    r"|(?:^|[\s,;\"])\u00a0\w|[a-z]\u00a0[a-z]|\u00a0[\s,]| … |[¡¿]\W|\b[øØÃ]\b|[A-Z][À-Þ][a-z]"
)
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class Decoded:
    """The text of a file.

    Attributes:
        text: Without byte order marks at its beginning or at the beginning of a line.
        encoding: In words: "UTF-8", "UTF-16", "UTF-32", "GB18030" or "Windows-1252".
        sure: Whether the bytes leave no doubt; if not, `example` is a piece of what was read.
        marks: Byte order marks at the beginning of later lines, as files that were joined have them.
    """

    text: str
    encoding: str
    sure: bool = True
    example: str = ""
    marks: int = 0


def decode(content: bytes, path: Path) -> Decoded:
    """Return the text of `content`, the bytes of the file at `path`.

    Raises:
        InvalidData: If its encoding is not told for certain, or it is no text; the message names the file.
    """
    for mark, name, encoding in _MARKS:
        if content.startswith(mark):
            return _without_marks(_marked(content, path, name, encoding), encoding)
    if b"\x1b$B" in content or b"\x1b$@" in content:
        raise InvalidData(f"{path}: is written in ISO-2022-JP; save it as UTF-8")
    unmarked = _unmarked_utf16(content)
    if unmarked is not None:
        return Decoded(unmarked, "UTF-16", sure=False, example=_example(unmarked))
    try:
        return _without_marks(content.decode("utf-8"), "UTF-8")
    except UnicodeDecodeError as error:
        for reader, encoding in ((_gb18030, "GB18030"), (_windows_1252, "Windows-1252")):
            text = reader(content)
            if text is not None:
                return Decoded(text, encoding, sure=False, example=_example(text))
        raise InvalidData(_unknown(content, path, error)) from None


def _marked(content: bytes, path: Path, name: str, encoding: str) -> str:
    try:
        return content.decode(name)
    except UnicodeDecodeError as error:
        if encoding == "UTF-8":
            raise InvalidData(_unknown(content, path, error)) from None
        raise InvalidData(
            f"{path}: begins as {encoding}, but its bytes at {error.start:,} are not; save it as UTF-8"
        ) from None


def _without_marks(text: str, encoding: str) -> Decoded:
    text = text.lstrip(_MARK)
    if _MARK not in text:
        return Decoded(text, encoding)
    marks = text.count(f"\n{_MARK}")
    return Decoded(text.replace(f"\n{_MARK}", "\n"), encoding, marks=marks)


def _unmarked_utf16(content: bytes) -> str | None:
    """Return the text of UTF-16 without a mark, None if it surely or possibly is something else."""
    if len(content) < 8 or len(content) % 2 or b"\0" not in content:
        return None
    low, high = content[0::2], content[1::2]
    if _is_utf8(content):
        # ASCII in UTF-16 is UTF-8 too, with a NUL beside each letter: no text has that by itself.
        zeros = (low.count(0), high.count(0))
        if zeros not in ((0, len(high)), (len(low), 0)):
            return None
    readings = [_clean(content, name) for name in ("utf-16-le", "utf-16-be")]
    letters = [0 if text is None else sum(character < "\x7f" for character in text) for text in readings]
    best = 0 if letters[0] > letters[1] else 1
    return readings[best] if letters[best] > 4 * letters[1 - best] else None


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _clean(content: bytes, name: str) -> str | None:
    """Return the text of `content` in the encoding `name`, None if a character of it stands in no text."""
    try:
        text = content.decode(name)
    except UnicodeDecodeError:
        return None
    return text if all(_is_text(character) for character in set(text)) else None


def _is_text(character: str) -> bool:
    return character in "\t\n\r" or unicodedata.category(character) not in ("Cc", "Cn", "Co", "Cs")


def _gb18030(content: bytes) -> str | None:
    """Return the text if it is Chinese beyond doubt: of common characters, in which Korean bytes would not result."""
    if 2 * sum(map(len, _UTF8_HANZI.findall(content))) > sum(byte > 0x7F for byte in content):
        return None  # UTF-8 with a damaged byte
    text = _clean(content, "gb18030")
    if text is None:
        return None
    hanzi = [character for character in text if "\u4e00" <= character <= "\u9fff"]
    letters = sum(character > "\x7f" and character.isalpha() for character in text)
    if not hanzi or len(hanzi) < 0.95 * letters:
        return None
    # One alone inside a Latin word is a letter with a mark, misread.
    if not _HANZI_PAIR.search(text) or len(_HANZI_IN_WORD.findall(text)) > 0.2 * len(hanzi):
        return None
    common = sum(character in _COMMON for character in hanzi) / len(hanzi)
    return text if common >= (_ENOUGH_COMMON if len(hanzi) >= 20 else 0.5) else None


def _windows_1252(content: bytes) -> str | None:
    """Return the text if its letters with marks are those of one language that is written in Windows-1252."""
    if _HIGH_RUN.search(content) or _UTF8_LETTER.search(content):
        return None
    text = _clean(content, "cp1252")
    if text is None:
        return None
    special = {character for character in text if character > "\x7f"} - _SIGNS
    if not any(special <= alphabet for alphabet in _ALPHABETS) or _NO_TEXT.search(text):
        return None
    return text if special <= _SAFE or _is_western(text) else None


def _is_western(text: str) -> bool:
    """Tell whether the lines with marked letters have more words of Western than of other European languages."""
    lines = [line for line in text.split("\n") if not line.isascii()]
    words = Counter(word.lower() for line in lines for word in _WORD.findall(line))
    western = sum(count for word, count in words.items() if word in _WESTERN)
    return western > sum(count for word, count in words.items() if word in _EASTERN)


def _example(text: str) -> str:
    """Return the first word of `text` that is not plain ASCII, with what stands around it."""
    found = re.search(r"\w*[^\x00-\x7f]\w*", text)
    return text.split("\n", 1)[0].strip()[:20] if found is None else found[0][:20]


def _unknown(content: bytes, path: Path, error: UnicodeDecodeError) -> str:
    line = content.count(b"\n", 0, error.start) + 1
    return (
        f"{path}, line {line}: byte 0x{content[error.start]:02x} at {error.start:,} is not UTF-8, and the text is not "
        "surely UTF-16, GB18030 or Windows-1252; save the file as UTF-8, such as with: iconv -f ENCODING -t UTF-8"
    )
