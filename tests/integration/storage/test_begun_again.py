"""The same, on PostgreSQL."""

from tests.unit.storage.test_begun_again import *
