"""What each engine of the shared ledger owes: two sums of an owner, one rule, no half answers."""

import threading
from typing import Any

import pytest

from tests.ledgers import Engine, InProcessEngine, Journaled, SqlEngine, ended
from trunkline.accounting.leases import ENOUGH_HOLDS, Back, Grant, Refusal, Seen, Want
from trunkline.accounting.period import Window, window
from trunkline.accounting.tab import Held
from trunkline.storage.ledger import Holding

HOUR_NS = 3600 * 10**9
NOW_NS = 500_000 * HOUR_NS
EVER = window("total", NOW_NS)


def want(need_nusd: int, scope: str = "global", **fields: Any) -> Want:
    """Ask for something of a budget of 100 nano-USD."""
    plain = Want(scope, "total", EVER, 100, need_nusd, need_nusd, 0, NOW_NS)
    return plain._replace(**fields)


def look(engine: Engine, scope: str = "global", period: str = "total", at: Window = EVER) -> Seen:
    """Look at an account."""
    return engine.leases.look(scope, period, at)


def pay(engine: Engine, owner: str, nusd: int, **fields: Any) -> None:
    """Have an attempt of `owner` ingested; its hold was 10."""
    fields = {"at_ns": NOW_NS, "hold_nusd": 10, "user_id": None, **fields}
    held = Held(fields["hold_nusd"], [], fields["at_ns"])
    journal = Journaled(f"{owner}")
    journal.calls = fields.get("call", 0)
    begun = journal.begun(held, fields["user_id"])
    engine.ingest(owner, [begun, ended(begun, nusd)])


def grant(engine: Engine, owner: str, *wants: Want, forced: bool = False) -> list[int] | Refusal:
    """Return what is granted."""
    answer = engine.leases.grant(owner, wants, forced=forced)
    return answer if isinstance(answer, Refusal) else [each.nusd for each in answer]


def test_all_is_granted_or_nothing(engine: Engine) -> None:
    """The account that has too little is named by its place; the others grant nothing."""
    assert grant(engine, "a", want(60), want(60, "user:u", limit_nusd=200)) == [60, 60]
    refused = engine.leases.grant("b", [want(41, "user:u", limit_nusd=200), want(41)])
    assert refused == Refusal(1, 0, 40)
    assert [look(engine, scope).exposed_nusd for scope in ("global", "user:u")] == [60, 60]
    assert grant(engine, "b", want(40)) == [40]
    assert look(engine) == Seen(0, 100, 0)


def test_more_than_needed_is_granted_only_where_there_is_plenty(engine: Engine) -> None:
    """With room for fewer holds than 16, nobody gets more than was asked for."""
    limit_nusd = ENOUGH_HOLDS * 10
    assert grant(engine, "a", want(10, limit_nusd=limit_nusd)) == [limit_nusd // 8]
    assert grant(engine, "a", want(10, limit_nusd=limit_nusd)) == [10]
    assert grant(engine, "a", want(10, limit_nusd=None)) == [10]


def test_what_is_given_back_can_be_granted_again(engine: Engine) -> None:
    """To anybody."""
    assert grant(engine, "a", want(100)) == [100]
    assert isinstance(grant(engine, "b", want(1)), Refusal)
    engine.leases.give_back("a", [Back("global", "total", EVER.bucket_ns, 30)])
    assert grant(engine, "b", want(30)) == [30]
    assert isinstance(grant(engine, "a", want(1)), Refusal)


def test_what_is_spent_already_is_granted_whatever_the_limit(engine: Engine) -> None:
    """It counts for all others."""
    assert grant(engine, "a", want(150), forced=True) == [150]
    assert look(engine).exposed_nusd == 150
    assert isinstance(grant(engine, "b", want(1)), Refusal)


def test_a_negative_need_gives_back(engine: Engine) -> None:
    """So an owner whose limit was lowered asks and gives back at once."""
    assert grant(engine, "a", want(100)) == [100]
    assert grant(engine, "a", want(-50, limit_nusd=60, amount_nusd=10)) == [-50]
    assert look(engine).exposed_nusd == 50
    refused = grant(engine, "a", want(11, limit_nusd=60))
    assert isinstance(refused, Refusal)


def test_ingestion_moves_what_was_spent(engine: Engine) -> None:
    """From exposed to settled; the owner's part of it is not counted twice in the answer."""
    grant(engine, "a", want(60))
    pay(engine, "a", 25)
    assert look(engine) == Seen(25, 35, 15 if isinstance(engine, SqlEngine) else 0)
    assert engine.leases.grant("a", [want(10, spent_nusd=40)]) == [Grant(10, 40)]
    assert engine.leases.grant("b", [want(10)]) == [Grant(10, 25)]
    assert look(engine).settled_nusd + look(engine).exposed_nusd == 80


def test_what_was_overdrawn_counts_once(engine: Engine) -> None:
    """Settled already, it takes no more room; nobody else gains any by it."""
    grant(engine, "a", want(10))
    pay(engine, "a", 50)
    assert look(engine)[:2] == (50, 0)
    assert isinstance(grant(engine, "b", want(51)), Refusal)
    overdrawn = want(91, amount_nusd=51, spent_nusd=50)
    assert isinstance(grant(engine, "a", overdrawn), Refusal)
    assert grant(engine, "a", want(90, amount_nusd=50, spent_nusd=50)) == [90]
    assert look(engine)[:2] == (50, 50)


def test_an_owner_is_credited_for_what_its_lease_held(engine: Engine) -> None:
    """An attempt from before the budget was there is settled, and credited to nobody."""
    if isinstance(engine, InProcessEngine):
        return  # which lives as long as its owner
    grant(engine, "a", want(60))
    pay(engine, "a", 25, at_ns=NOW_NS - 1)
    assert look(engine)[:2] == (25, 60)


def test_what_was_spent_before_the_first_ask_counts_once(engine: Engine) -> None:
    """Whether it is ingested before that, or after."""
    if isinstance(engine, InProcessEngine):
        return
    for number, scope in enumerate(("global", "user:u", "deployment:p/m", "provider:p")):
        before, after = {"call": 2 * number}, {"call": 2 * number + 1}
        owner = f"o{number}"
        grant(engine, "other", want(0, scope, amount_nusd=100))
        settled_nusd = look(engine, scope).settled_nusd
        pay(engine, owner, 30, user_id="u", **before)
        assert grant(engine, owner, want(50, scope, spent_nusd=50), forced=True) == [50]
        assert look(engine, scope)[:2] == (settled_nusd + 30, 20)
        pay(engine, owner, 20, user_id="u", **after)
        assert look(engine, scope)[:2] == (settled_nusd + 50, 0)


def test_a_mark_is_noted_once(engine: Engine) -> None:
    """By whoever is first; a higher one is another one."""
    grant(engine, "a", want(1))
    where = ("global", "total", EVER.bucket_ns)
    noted = [engine.leases.mark(*where, mark) for mark in (50, 50, 80, 50, 80)]
    assert noted == [True, False, True, False, False]


def test_budgets_of_one_scope_and_period_are_apart(engine: Engine) -> None:
    """Their names tell them apart; what is ingested is settled on both."""
    wants = [want(60), want(60, period="total:2", limit_nusd=70)]
    assert grant(engine, "a", *wants) == [60, 60]
    assert grant(engine, "a", want(20)) == [20]
    assert isinstance(grant(engine, "a", wants[1]), Refusal)
    pay(engine, "a", 10)
    assert look(engine)[:2] == (10, 70)
    assert look(engine, period="total:2")[:2] == (10, 50)


def test_a_rolling_window_adds_up_its_buckets(engine: Engine) -> None:
    """What is held and settled in each of them counts until it leaves the window."""
    name = "day:rolling"

    def at(hours: int, need_nusd: int) -> Want:
        now_ns = NOW_NS + hours * HOUR_NS
        rolled = window("day", now_ns, rolling=True)
        return want(need_nusd, period=name, window=rolled, since_ns=now_ns)

    for hours in (0, 1, 5):
        assert grant(engine, "a", at(hours, 20)) == [20]
    pay(engine, "a", 15, at_ns=NOW_NS + HOUR_NS)
    assert look(engine, period=name, at=at(5, 0).window)[:2] == (15, 45)
    assert isinstance(grant(engine, "a", at(5, 41)), Refusal)
    assert isinstance(grant(engine, "a", at(24, 41)), Refusal)
    assert look(engine, period=name, at=at(25, 0).window)[:2] == (15, 25)
    assert look(engine, period=name, at=at(26, 0).window)[:2] == (0, 20)
    assert look(engine, period=name, at=at(30, 0).window)[:2] == (0, 0)


def test_an_account_begins_with_what_was_used(engine: Engine) -> None:
    """Each of its buckets with its own, whether it is granted or looked at first."""
    if isinstance(engine, InProcessEngine):
        return
    for hours, nusd in ((-30, 1), (-24, 2), (-3, 4), (0, 8)):
        at_ns = NOW_NS + hours * HOUR_NS
        pay(engine, "before", nusd, at_ns=at_ns, call=hours + 50)
    rolled = window("day", NOW_NS, rolling=True)
    later = window("day", NOW_NS + 3 * HOUR_NS, rolling=True)
    for _ in range(2):
        assert look(engine).settled_nusd == 15
        assert look(engine, period="day:rolling", at=rolled).settled_nusd == 14
        assert look(engine, period="day:rolling", at=later).settled_nusd == 12
        grant(engine, "a", want(1), want(1, period="day:rolling", window=rolled))


def test_a_lower_limit_refuses_until_enough_is_back(engine: Engine) -> None:
    """What others were granted under the old one counts."""
    assert grant(engine, "a", want(90)) == [90]
    assert isinstance(grant(engine, "b", want(1, limit_nusd=50)), Refusal)
    engine.leases.give_back("a", [Back("global", "total", EVER.bucket_ns, 60)])
    assert grant(engine, "b", want(20, limit_nusd=50)) == [20]


def test_what_the_dead_were_granted_goes_with_their_journal(engine: Engine) -> None:
    """Until then it counts; an attempt that did not end costs what it held."""
    grant(engine, "a", want(60))
    engine.ingest("a", [Journaled("a").begun(Held(40, [], NOW_NS))])
    assert look(engine)[:2] == (0, 60)
    engine.bury("a")
    assert look(engine)[:2] == (40, 0)


def test_holdings_can_be_looked_at_and_forgotten(engine: Engine) -> None:
    """By an administrator, who knows that an owner will not come back."""
    if isinstance(engine, InProcessEngine):
        return
    grant(engine, "a", want(60), want(50, "user:u"))
    grant(engine, "b", want(5))
    pay(engine, "a", 25)
    mine = Holding("global", "total", 0, "a", NOW_NS, 60, 25)
    assert engine.leases.holdings() == [
        mine,
        mine._replace(scope="user:u", granted_nusd=50, ingested_nusd=0),
        mine._replace(owner="b", granted_nusd=5, ingested_nusd=0),
    ]
    assert [engine.leases.forget(owner) for owner in "aa"] == [2, 0]
    assert look(engine)[:2] == (25, 5)
    engine.leases.give_back("a", [Back("global", "total", EVER.bucket_ns, 10)])
    assert look(engine)[:2] == (25, 5)


def test_owners_who_ask_in_opposite_order_do_not_wait_for_each_other(engine: Engine) -> None:
    """And what they get is never more than there is."""
    scopes = ("global", "user:u", "user:v")
    wants = [want(1, scope, limit_nusd=60, amount_nusd=60) for scope in scopes]
    granted: list[str] = []

    def work(owner: str, asked: list[Want]) -> None:
        for _ in range(20):
            if not isinstance(engine.leases.grant(owner, asked), Refusal):
                granted.append(owner)

    threads = [
        threading.Thread(target=work, args=(owner, wants[::step]), daemon=True)
        for owner, step in (("a", 1), ("b", -1), ("c", 1), ("d", -1))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(granted) == 60
    assert {look(engine, scope).exposed_nusd for scope in scopes} == {60}


@pytest.mark.parametrize("scope", ["global", "user:u"])
def test_looking_changes_nothing(engine: Engine, scope: str) -> None:
    """An account that nobody has asked can be looked at."""
    assert look(engine, scope) == Seen(0, 0, 0)
    assert grant(engine, "a", want(100, scope)) == [100]


@pytest.mark.parametrize(
    ("owner", "need_nusd", "amount_nusd", "left_nusd"),
    [("b", 40, 40, 30), ("b", 40, 45, 35), ("a", 50, 40, 30)],
    ids=["nothing before", "something free", "overdrawn"],
)
def test_a_refusal_says_what_a_hold_may_come_to(
    engine: Engine, owner: str, need_nusd: int, amount_nusd: int, left_nusd: int
) -> None:
    """Just so much is granted: with what the owner has free, without what it has overdrawn."""
    grant(engine, "a", want(60))
    pay(engine, "a", 70)
    asked = want(need_nusd, amount_nusd=amount_nusd)
    assert engine.leases.grant(owner, [asked]) == Refusal(0, 70, left_nusd)
    need_nusd -= amount_nusd - left_nusd
    more = want(need_nusd + 1, amount_nusd=left_nusd + 1)
    assert engine.leases.grant(owner, [more]) == Refusal(0, 70, left_nusd)
    assert grant(engine, owner, want(need_nusd, amount_nusd=left_nusd)) == [need_nusd]
