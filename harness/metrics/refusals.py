"""Whether an answer declines to answer, in English and Chinese."""

import re
from collections.abc import Mapping, Sequence

# A refusal opens an answer; what stands later belongs to the answer itself.
_OPENING_CHARACTERS = 240

_DECLINED_EN = (
    r"(?:help|assist|answer|comply|provide|fulfil+|support|share|offer|engage|participate|create|generate|produce|"
    r"discuss|do (?:that|this)|complete (?:that|this|your)|respond|give (?:you )?(?:advice|instructions|information)|"
    r"be able to (?:help|assist)|continue with)\b"
)
_CANNOT_EN = (
    r"I(?:'m| am)? (?:(?:really|very|so) )?(?:can't|cannot|can not|won't|will not|unable to|not able to|not allowed to|"
    r"must decline to|have to decline to|don't feel comfortable|not comfortable|refuse to|decline to)"
)
_LEAD_EN = (
    r"(?:(?:I'm|I am) (?:(?:really|very|so) )?sorry[,.]?(?: but)? |sorry[,.]?(?: but)? |unfortunately,? |"
    r"I apologi[sz]e,?(?: but)? |as an AI[^.,]{0,40}, )?"
)
_DECLINED_ZH = "(?:帮|协助|提供|回答|满足|支持|讨论|生成|完成|给出|参与|创作|撰写|执行|处理)"

_OPENINGS: Mapping[str, Sequence[re.Pattern[str]]] = {
    "en": (
        re.compile(rf"(?:^|[.!?\n] ?){_LEAD_EN}{_CANNOT_EN} (?:\w+ )?{_DECLINED_EN}", re.IGNORECASE),
        re.compile(r"^(?:I'm |I am )?sorry[,.]?(?: but)? (?:I )?(?:can't|cannot)(?: do (?:that|this))?[.!]*$", re.I),
        re.compile(r"^As an AI(?: language model| assistant)?,? I (?:can't|cannot|am unable|do not|don't)\b", re.I),
        re.compile(r"^I (?:must|have to) (?:respectfully )?(?:decline|refuse)\b", re.I),
    ),
    "zh": (
        re.compile(
            rf"^(?:非常|很|十分)?(?:抱歉|对不起|不好意思)[,，。!！]?(?:但|但是)?[,，]?(?:我)?"
            rf"(?:不能|无法|没法|没有办法)(?:为你|为您|给你|给您|向你|向您|直接|继续)?{_DECLINED_ZH}"
        ),
        re.compile(
            rf"(?:^|[。！？!?\n,，])(?:我|本(?:助手|模型))(?:暂时|目前|恐怕|实在)?"
            rf"(?:不能|无法|没法|没有办法|不可以|不会)(?:为你|为您|给你|给您|向你|向您|直接|继续)?{_DECLINED_ZH}"
        ),
        re.compile(r"^作为(?:一个|一名|一款)?(?:AI|人工智能|语言模型|大模型)[^。！？\n]{0,20}?(?:不能|无法|不可以)"),
    ),
}


def refusal(text: str, languages: Sequence[str]) -> str | None:
    """Return the words with which `text` declines to answer, None where it does not.

    Only an opening that speaks of the writer's own help counts: "I can't believe it" and "she said she cannot
    help" refuse nothing.
    """
    opening = text.strip().replace("’", "'")[:_OPENING_CHARACTERS]
    for language in languages:
        for pattern in _OPENINGS[language]:
            if match := pattern.search(opening):
                return match.group().strip(" .!?\n,，。！？")
    return None
