

LOG = []
_init = ValkeyMachine.__init__
def init(self, *a, **k):
    LOG.clear()
    _init(self, *a, **k)
ValkeyMachine.__init__ = init
for n in ("grant", "give_back", "_tell"):
    def wrap(n=n):
        f = getattr(ValkeyLeases, n)
        def g(self, *a, **k):
            try:
                r = f(self, *a, **k)
            except BaseException as e:
                r = repr(e); 
                LOG.append((n, a, k, r, {x: (s.pool % 10**9, s.drawn_nusd, s.told_nusd, s.doubtful) for x, s in self._shares.items() if x[1] == "global"}))
                raise
            LOG.append((n, [[(w.scope, *w[3:]) if isinstance(w, __import__("trunkline").accounting.leases.Want) else w for w in b] if isinstance(b, list) else b for b in a], k, r, {x: (s.pool % 10**9, s.drawn_nusd, s.told_nusd, s.doubtful) for x, s in self._shares.items() if x[1] == "global"}))
            return r
        return g
    setattr(ValkeyLeases, n, wrap())
import trunkline.accounting.leases
_run = Uncertain.run
def run(self, what, keys, given):
    r = _run(self, what, keys, given)
    if keys and what != "look": LOG.append(("VALKEY", self.fault, what, [(k.split(":")[3:5], int(k.split(":")[-1]) % 10**9) for k in keys], given, r))
    return r
Uncertain.run = run
_b = ValkeyMachine.break_off
_lh = Machine.limits_hold
from hypothesis.stateful import invariant
class Traced(ValkeyMachine):
    @invariant()
    def limits_hold(self):
        with self.engine.database.session() as db:
            rows = [tuple(r) for r in db.execute("SELECT scope, period, l.owner, opened_ns % 1000000000, granted_nusd, ingested_nusd FROM ledger_leases l JOIN ledger_accounts a ON a.id=l.account WHERE scope='global'")]
        if not LOG or LOG[-1] != ("ROWS", rows):
            LOG.append(("FAULT", self.database.fault)); LOG.append(("ROWS", rows))
        try:
            _lh.function(self) if hasattr(_lh, "function") else super().limits_hold()
        except AssertionError as e:
            print("FAILURE", e)
            for l in LOG[-60:]: print(l)
            import os; os._exit(3)
ValkeyMachine = Traced
