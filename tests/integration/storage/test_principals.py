"""The same, on PostgreSQL."""

from tests.unit.storage.test_principals import *
