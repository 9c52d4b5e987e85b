"""The same, on PostgreSQL."""

from tests.unit.storage.test_store_calls import *
