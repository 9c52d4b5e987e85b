"""The same, on PostgreSQL."""

from tests.unit.storage.test_users import *
