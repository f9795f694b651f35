"""Personal data: what is found, and what only looks like it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.personal_data import Hit, find_personal_data


def found(text: str, *, known: str = "", ip_addresses: bool = False) -> list[tuple[str, str]]:
    return [(hit.rule, hit.match) for hit in find_personal_data(text, known=known, ip_addresses=ip_addresses)]


@pytest.mark.parametrize(
    ("rule", "text", "match"),
    [
        ("email", "Write to ann.lee+home@example.co.uk.", "ann.lee+home@example.co.uk"),
        ("email", "请联系zhang@example.cn谢谢", "zhang@example.cn"),
        ("phone", "Call (212) 555-0187 now", "(212) 555-0187"),
        ("phone", "Call 1-212-555-0187.", "1-212-555-0187"),
        ("phone", "212.555.0187", "212.555.0187"),
        ("phone", "ring +44 20 7946 0958", "+44 20 7946 0958"),
        ("phone", "电话010-62345678。", "010-62345678"),
        ("chinese_mobile", "手机13812345678，谢谢", "13812345678"),
        ("chinese_mobile", "手机+86 138-1234-5678", "+86 138-1234-5678"),
        ("credit_card", "card 4111 1111 1111 1111, exp", "4111 1111 1111 1111"),
        ("credit_card", "amex 3782-822463-10005", "3782-822463-10005"),
        ("credit_card", "card 378282246310005.", "378282246310005"),
        ("iban", "IBAN DE89 3704 0044 0532 0130 00", "DE89 3704 0044 0532 0130 00"),
        ("iban", "to GB82WEST12345698765432.", "GB82WEST12345698765432"),
        ("chinese_id", "身份证11010519491231002X。", "11010519491231002X"),
        ("chinese_id", "440524188001010014 or 110105194912310021 or 11010519491231002x", "11010519491231002x"),
        ("us_ssn", "SSN 123-45-6789", "123-45-6789"),
    ],
)
def test_each_rule_finds_its_own_once(rule, text, match):
    assert found(text) == [(rule, match)]


@pytest.mark.parametrize(
    "text",
    [
        "meet @ 5 pm", "user@localhost", "a@b", "@name", "E11.9", "code Z79.4 (2024-01-02)",
        "12345", "2026-11-22 01:15:36", "1,234,567,890", "3.14159265358979", "112-555-0187", "555-0187",
        "order 2125550187", "v1.2.3-4567", "212-555-01871",
        "12812345678", "138123456789", "订单号2013812345678", "138-12345678",
        "4111 1111 1111 1112", "1234567890123456", "0000000000000000", "4111111111111111000123",
        "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "4111-1111 1111-1111", "440524188001010014",
        "DE89 3704 0044 0532 0130 01", "ABCD1234567890", "GB82 WEST",
        "110105194912310021", "11010519491331002X", "11010518491231002X", "11010519491231002XA",
        "000-12-3456", "666-12-3456", "900-12-3456", "123-00-4567", "123-45-0000", "1123-45-6789",
    ],
)  # fmt: skip
def test_near_misses_are_left_alone(text):
    assert found(text) == []


def test_what_the_model_was_told_is_no_leak_however_it_is_spelt():
    known = "My number is (212) 555-0187, mail ANN@example.com, card 4111111111111111"
    assert found("212-555-0187 ann@example.com 4111 1111 1111 1111", known=known) == []
    assert found("212-555-0188 bob@example.com", known=known) == [
        ("email", "bob@example.com"),
        ("phone", "212-555-0188"),
    ]


def test_public_addresses_are_found_only_on_request():
    text = "from 8.8.8.8 and 2606:4700:4700::1111 to 192.168.0.1, 999.1.1.1, 1.2.3, 12:30:45, ::1, 8.8.8.8.8"
    assert found(text) == []
    assert found(text, ip_addresses=True) == [("ip_address", "8.8.8.8"), ("ip_address", "2606:4700:4700::1111")]


@given(st.integers(0, 10**14 - 1), st.integers(0, 15), st.integers(1, 9))
def test_one_wrong_digit_breaks_a_card_number(account, place, change):
    body = f"4{account:014d}"
    doubled = [int(digit) * (1 + (place + 1) % 2) for place, digit in enumerate(reversed(body))]
    check = -sum(digit - 9 if digit > 9 else digit for digit in doubled) % 10
    card = f"{body}{check}"
    wrong = card[:place] + str((int(card[place]) + change) % 10) + card[place + 1 :]
    assert Hit("credit_card", card) in find_personal_data(card, known="")
    assert "credit_card" not in {rule for rule, _ in found(wrong)}


@given(st.text(max_size=60))
def test_any_text_can_be_searched_and_every_hit_stands_in_it(text):
    assert all(match in text for _, match in found(text, ip_addresses=True))
