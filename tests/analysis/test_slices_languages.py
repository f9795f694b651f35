import pytest

from harness.analysis.slices import languages


def test_scripts_and_words_tell_the_language():
    texts = (
        "Could you tell me how long a transfer to my savings account usually takes?",
        "Schalte bitte das Licht im Wohnzimmer und in der Küche ein",
        "打开客厅的灯",
        "リビングの電気をつけてください",
        "거실 불을 켜 주세요",
        "Сколько времени обычно занимает перевод денег на мой сберегательный счёт?",
    )
    assert languages(texts) == ("en", "de", "zh", "ja", "ko", "ru")


def test_a_text_too_short_to_tell_joins_the_commonest_language_of_its_alphabet():
    german = ["Wie lange dauert eine Überweisung auf mein Sparkonto normalerweise?"] * 3
    english = ["How long does a transfer to my savings account usually take?"]
    assert languages([*german, *english, "ok", "Да"]) == ("de", "de", "de", "en", "de", "und")


def test_nothing_to_tell_is_undetermined():
    assert languages(["", "12 34"]) == ("und", "und")
    assert languages([]) == ()


def test_chinese_with_latin_names_is_chinese():
    assert languages(["请打开 WiFi 和 TV 的电源并播放音乐"]) == ("zh",)


def test_a_set_in_one_language_is_not_read_at_all(monkeypatch: pytest.MonkeyPatch):
    def read() -> None:
        raise AssertionError("the table of words was loaded")

    monkeypatch.setattr("harness.analysis.slices._classifier", read)
    english = ["How long does a transfer take?", "Turn on the light.", "Which café is open?"]
    assert languages(english * 2 + ["What does it cost to send money?"] * 94) == ("und",) * 100
    assert languages(["打开客厅的灯"] * 3) == ("zh",) * 3
    with pytest.raises(AssertionError, match="table of words"):
        languages(["Turn on the light."] * 90 + ["Schalte das Licht ein."] * 10)
