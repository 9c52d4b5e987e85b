"""The same, on PostgreSQL."""

from tests.unit.storage.test_prune_sums import *
