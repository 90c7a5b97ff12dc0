"""Challenges, as servers really write them."""

import pytest

from ckf_airgap.registry.challenges import Challenge, read_challenges

BEARER = Challenge("bearer", {"realm": "https://auth.example/token", "service": "registry"})
BASIC = Challenge("basic", {"realm": "Gitea Container Registry"})
NEGOTIATE = Challenge("negotiate")
BEARER_TEXT = 'Bearer realm="https://auth.example/token",service="registry"'
BASIC_TEXT = 'Basic realm="Gitea Container Registry"'


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([""], []),
        ([BEARER_TEXT], [BEARER]),
        ([BEARER_TEXT, BASIC_TEXT], [BEARER, BASIC]),
        ([f"{BEARER_TEXT}, {BASIC_TEXT}"], [BEARER, BASIC]),
        ([f"{BASIC_TEXT},{BEARER_TEXT}"], [BASIC, BEARER]),
        ([f"Negotiate, {BASIC_TEXT}"], [NEGOTIATE, BASIC]),
        (["Negotiate", BASIC_TEXT], [NEGOTIATE, BASIC]),
        ([f"Negotiate YIIJ/+~.-_==, {BASIC_TEXT}"], [NEGOTIATE, BASIC]),
        (["NTLM TlRMTVNTUAAC="], [Challenge("ntlm")]),
        (
            ["bearer Realm = https, SERVICE=\tcontainer_registry"],
            [Challenge("bearer", {"realm": "https", "service": "container_registry"})],
        ),
        ([', ,Basic   realm="a\\"b, c=\\\\d" , ,'], [Challenge("basic", {"realm": 'a"b, c=\\d'})]),
        (['Basic realm="first", realm="second"'], [Challenge("basic", {"realm": "first"})]),
        (["Basic"], [Challenge("basic")]),
        # A scheme, and no token: it is what stands before an equals sign with a value.
        (["Basic realm=x"], [Challenge("basic", {"realm": "x"})]),
        # What is no challenge ends the reading.
        ([f'{BASIC_TEXT}, Bearer realm="never closed'], [BASIC, Challenge("bearer")]),
        (["=, Basic"], []),
        (['"Basic"'], []),
    ],
)
def test_challenges_are_told_apart(values: list[str], expected: list[Challenge]) -> None:
    assert read_challenges(values) == expected


@pytest.mark.parametrize(
    "value",
    [
        "a" * 1_000_000,
        "a " * 500_000,
        "a=" * 500_000,
        "a,b=c " * 200_000,
        'Basic realm="' + "\\" * 999_999,
        'a b="' * 200_000,
        "a " + "=" * 999_999,
        " ," * 500_000,
        "a\t" + " " * 1_000_000 + "=",
    ],
)
def test_a_field_of_any_content_ends_the_same_way(value: str) -> None:
    # A time that grows with the square of its length would be hours.
    assert len(read_challenges([value])) <= len(value)
