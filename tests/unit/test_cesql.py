"""CESQL 1.0: the cases of its specification, and what it refuses."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knative.local.broker.cesql import EvaluationError, ExpressionError, compile_expression
from knative.local.broker.cesql_values import Value

EVENT = {
    "id": "1",
    "source": "/s",
    "type": "io.dsm.sprint.completed.v1",
    "specversion": "1.0",
    "subject": "Francesco",
    "hop": "3",
    "ttl": "10",
    "flag": "TRUE",
}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        # literals
        ("1", 1),
        ("-1", -1),
        ("+1", 1),
        ("-2147483648", -2147483648),
        ("TRUE", True),
        ("false", False),
        ("'abc'", "abc"),
        ('"abc"', "abc"),
        (r"'it\'s'", "it's"),
        (r'"say \"x\""', 'say "x"'),
        # arithmetic
        ("4 * 2 + 4 / 2", 10),
        ("4 * (2 + 4) / 2", 12),
        ("5 / 3", 1),
        ("-5 / 3", -1),
        ("5 % 2", 1),
        ("-5 % 3", -2),
        ("5 % -3", 2),
        ("4 -1", 3),
        ("4 + -1", 3),
        ("10 - 3 - 2", 5),
        ("'5' + '3'", 8),
        ("5 + TRUE", 6),
        ("2147483647 + 1", -2147483648),
        ("-'3'", -3),
        # comparison
        ("1 = 2", False),
        ("2 != 2", False),
        ("1 <> 2", True),
        ("'abc' = 'ABC'", False),
        ("2 <= 2", True),
        ("2 < 2", False),
        ("2 >= 3", False),
        ("2 > 1", True),
        ("true = 'TRUE'", False),
        ("'TRUE' = true", True),
        ("hop = 3", True),
        ("hop < ttl", True),
        ("'10' > '9'", True),
        # logic: one level for all three, from the right; NOT binds more tightly
        ("TRUE AND FALSE", False),
        ("FALSE OR TRUE", True),
        ("TRUE XOR TRUE", False),
        ("TRUE XOR FALSE", True),
        ("FALSE AND FALSE OR TRUE", False),
        ("TRUE OR FALSE AND FALSE", True),
        ("NOT FALSE", True),
        ("NOT (hop = 0)", True),
        ("flag AND TRUE", True),
        ("FALSE AND (1 / 0 = 1)", False),
        ("TRUE OR nosuch = 'x'", True),
        ("1 AND 0", False),
        ("int(hop) < int(ttl) and int(hop) < 1000", True),
        # LIKE
        ("'abc' LIKE 'a%b%c'", True),
        ("'azzzbzzzc' like 'a%b%c'", True),
        ("'ac' LIKE 'abc'", False),
        ("'.ab.cde.' LIKE '.%.%.'", True),
        ("'azbzc' LIKE 'a_b_c'", True),
        ("'abc' LIKE 'a_b_c'", False),
        (r"'a_b' LIKE 'a\_b'", True),
        (r"'azb' LIKE 'a\_b'", False),
        (r"'a%b' LIKE 'a\%b'", True),
        (r"'ab\c' LIKE 'ab\c'", True),
        ("'abc' NOT LIKE 'abc'", False),
        ("234 LIKE '23_'", True),
        ("TRUE LIKE 'tr%'", True),
        ("type LIKE 'io.dsm.%.v1'", True),
        ("'a.c' LIKE 'a.c' AND 'abc' NOT LIKE 'a.c'", True),
        # IN
        ("hop IN (1, 2, 3)", True),
        ("hop NOT IN ('1', '2')", True),
        ("3 IN ('1', '3')", True),
        ("'a' IN ('b', CONCAT('a'))", True),
        # EXISTS
        ("EXISTS subject", True),
        ("EXISTS nosuch", False),
        ("EXISTS id", True),
        ("NOT EXISTS nosuch", True),
        # functions
        ("LENGTH('abc')", 3),
        ("LENGTH(TRUE)", 4),
        ("CONCAT('a', 'b', 1)", "ab1"),
        ("CONCAT()", ""),
        ("CONCAT_WS(',', 'a', 'b')", "a,b"),
        ("CONCAT_WS(',')", ""),
        ("LOWER('AbC')", "abc"),
        ("UPPER('AbC')", "ABC"),
        ("TRIM('  a b ')", "a b"),
        ("LEFT('abc', 2)", "ab"),
        ("LEFT('abc', 10)", "abc"),
        ("RIGHT('abc', 2)", "bc"),
        ("RIGHT('abc', 10)", "abc"),
        ("RIGHT('abc', 0)", ""),
        ("SUBSTRING('abcdef', 2)", "bcdef"),
        ("SUBSTRING('Sakila', -3)", "ila"),
        ("SUBSTRING('abcdef', 2, 4)", "bcde"),
        ("SUBSTRING('Sakila', -5, 3)", "aki"),
        ("SUBSTRING('abcdef', 5, 10)", "ef"),
        ("SUBSTRING('abc', 0)", ""),
        ("ABS(-10)", 10),
        ("ABS('-10')", 10),
        ("INT('-1')", -1),
        ("INT(TRUE)", 1),
        ("BOOL('false')", False),
        ("BOOL(100)", True),
        ("STRING(FALSE)", "false"),
        ("STRING(-1)", "-1"),
        ("IS_INT('12')", True),
        ("IS_INT('x')", False),
        ("IS_BOOL('True')", True),
        ("IS_BOOL('yes')", False),
    ],
)
def test_an_expression_has_the_value_of_the_specification(expression: str, value: Value) -> None:
    found = compile_expression(expression)(EVENT)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "expression",
    [
        "nosuch",
        "nosuch != 'x'",
        "nosuch / 0",
        "5 / 0",
        "5 % 0",
        "INT('ABC')",
        "INT('2147483648')",
        "BOOL('ABC')",
        "subject + 1",
        "subject = 1",
        "LEFT('abc', -2)",
        "RIGHT('abc', -2)",
        "SUBSTRING('abcdef', 10)",
        "SUBSTRING('abcdef', -10, 10)",
        "SUBSTRING('abcdef', 1, -1)",
        "TRUE AND nosuch",
        "NOT hop = 0",  # that is, (NOT hop) = 0
    ],
)
def test_an_expression_fails_rather_than_guess(expression: str) -> None:
    with pytest.raises(EvaluationError):
        compile_expression(expression)(EVENT)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "not valid CESQL"),
        ("a =", "not valid CESQL"),
        ("1 2", "at character 3"),
        ("'open", "at character 1"),
        ("(1", "not valid CESQL"),
        ("a LIKE b", "not valid CESQL"),
        ("EXISTS 'a'", "not valid CESQL"),
        ("a IN ()", "not valid CESQL"),
        ("NOSUCH(1)", "no function NOSUCH with 1"),
        ("LENGTH()", "no function LENGTH with 0"),
        ("CONCAT_WS()", "no function CONCAT_WS with 0"),
        ("Subject = 'x'", "Subject is no attribute name"),
        ("a_b = 'x'", "a_b is no attribute name"),
        ("2147483649", "beyond 32 bits"),
    ],
)
def test_what_is_no_cesql_is_refused_with_a_reason(expression: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message.replace("(", r"\(")):
        compile_expression(expression)


@given(st.text())
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    with contextlib.suppress(ExpressionError):
        compile_expression(text)


@given(st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31), 2**31 - 1).filter(bool))
def test_division_truncates_and_the_remainder_keeps_the_dividends_sign(x: int, y: int) -> None:
    if (x, y) == (-(2**31), -1):
        return  # overflows, and wraps around
    quotient = compile_expression("a / b")({"a": str(x), "b": str(y)})
    remainder = compile_expression("a % b")({"a": str(x), "b": str(y)})
    assert isinstance(quotient, int)
    assert isinstance(remainder, int)
    assert quotient * y + remainder == x
    assert abs(remainder) < abs(y)
    assert remainder == 0 or (remainder < 0) == (x < 0)
