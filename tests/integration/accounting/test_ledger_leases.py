"""The same, where a server keeps the accounts."""

from tests.unit.accounting.test_ledger_leases import *
