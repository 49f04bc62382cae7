"""Every attack of the table is refused as it says, and the page's table is of those that were tried."""

from __future__ import annotations

from pathlib import Path

from tests.serving.auth.attacks import ATTACKS, World
from tests.serving.auth.odd_provider import OddProvider
from tests.serving.auth.people import SigningEdge
from tests.serving.edges import problem

PAGE = Path(__file__).resolve().parents[3] / "docs" / "sign-in.md"


def test_every_attack_is_refused_and_the_page_lists_those_that_were_tried(
    signing: SigningEdge, odd: OddProvider
) -> None:
    world = World(signing, odd)
    # Right but for the attack: what the odd provider answers without one signs somebody in.
    right = world.brought(odd.signed)
    assert (right.status_code, right.headers["location"]) == (303, "/")
    tried, wrong = [], []
    for name, refusal, attack in ATTACKS:
        response = attack(world)
        status, kind = refusal.split()
        if response.status_code != int(status) or problem(response, int(status)) != kind:
            wrong.append(f"{name}: {response.status_code} {response.text}")
        if "set-cookie" in response.headers:
            wrong.append(f"{name}: it set a cookie")
        tried.append(f"| {len(tried) + 1} | {name} | `{refusal}` |")
    assert not wrong, "\n".join(wrong)
    table = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and line[2].isdigit()]
    assert table == tried, "docs/sign-in.md needs this table:\n" + "\n".join(tried)
