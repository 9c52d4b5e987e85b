"""Which engine a configuration asks for; a driver is imported only when it is needed."""

from __future__ import annotations

from pathlib import Path

from trunkline.accounting.leases import Leases
from trunkline.accounting.rates import Buckets
from trunkline.clock import Clock
from trunkline.config import Config
from trunkline.storage.buckets import FileBuckets
from trunkline.storage.database import Database
from trunkline.storage.ledger import SqlLeases


def open_database(config: Config, *, as_is: bool = False) -> Database:
    """Return the database of `config`, a connection of its own; nothing is opened yet.

    Args:
        as_is: it is taken with whatever schema it has, and neither made nor upgraded.

    Raises:
        ConfigError: its driver is not installed, or its URL cannot be read.
    """
    url = config.storage.database_url
    if url is not None:
        from trunkline.storage.postgres import PostgresDatabase

        return PostgresDatabase(url.reveal(), as_is=as_is)
    from trunkline.storage.sqlite import SqliteDatabase

    return SqliteDatabase(sqlite_file(config), as_is=as_is)


def open_leases(config: Config) -> Leases:
    """Return the shared accounts of `config`, on connections of their own; nothing is opened yet.

    Raises:
        ConfigError: as for `open_database`.
    """
    database, url = open_database(config), config.storage.redis_url
    if url is None:
        return SqlLeases(database)
    from trunkline.storage.valkey import Valkey
    from trunkline.storage.valkey_leases import ValkeyLeases

    return ValkeyLeases(database, Valkey(url.reveal()))


def open_buckets(config: Config, clock: Clock) -> Buckets:
    """Return the buckets of rate limits of `config`; nothing is opened yet.

    Raises:
        ConfigError: as for `open_database`.
    """
    file = FileBuckets(config.data_dir / "buckets", lambda: int(clock.monotonic_s() * 1e9))
    url = config.storage.redis_url
    if url is None:
        return file
    from trunkline.storage import valkey_buckets
    from trunkline.storage.valkey import Valkey

    valkey = Valkey(url.reveal(), valkey_buckets.SCRIPT, valkey_buckets.WITHOUT)
    return valkey_buckets.ValkeyBuckets(valkey, open_database(config).name, file)


def sqlite_file(config: Config) -> Path:
    """Return where records are kept when no URL says otherwise."""
    return config.data_dir / "trunkline.db"
