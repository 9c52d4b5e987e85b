"""`db`: the schema of the database, its health, and a copy of it."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import click

from trunkline.cli.frame import (
    config_option,
    fails_cleanly,
    json_option,
    print_json,
    print_table,
)
from trunkline.config import Config, load
from trunkline.storage.engines import open_database, sqlite_file
from trunkline.storage.migrations import standing
from trunkline.storage.migrations import upgrade as carry_out
from trunkline.storage.migrations.inspection import inspect
from trunkline.storage.migrations.steps import MIGRATIONS


@click.group()
def db() -> None:
    """Check, upgrade or back up the database.

    A newer Trunkline upgrades it by itself when it opens it, unless older ones could not go on
    then.
    """


@db.command()
@config_option
@json_option
@fails_cleanly
def check(config: str | None, as_json: bool) -> None:
    """Say whether the database is sound.

    And which schema it has, and how many rows. All of it is read, and nothing changed. Exit code 1
    when this Trunkline cannot use it, or when something is damaged.
    """
    with closing(open_database(_read(config), as_is=True)) as database:
        found = inspect(database)
    now, newest = found.standing, MIGRATIONS[-1]
    pending = [step.id for step in now.pending] if now else []
    if as_json:
        print_json(
            {
                "database": database.name,
                "schema": now.version if now else None,
                "head": now.head if now else None,
                "newest": newest.id,
                "pending": pending,
                "rows": found.rows,
                "problems": found.problems,
            }
        )
    else:
        click.echo(f"database {database.name}")
        click.echo(f"schema {now.head if now else 'none yet'}, this Trunkline's is {newest.id}")
        if found.rows:
            print_table(("table", "rows"), found.rows.items())
        for step in pending:
            click.echo(f"pending: {step}")
        for problem in found.problems:
            click.echo(f"PROBLEM: {problem}")
        if not found.problems:
            click.echo("good")
    if found.problems:
        raise SystemExit(1)


@db.command()
@config_option
@json_option
@fails_cleanly
def upgrade(config: str | None, as_json: bool) -> None:
    """Upgrade the schema to that of this Trunkline.

    Where there are no tables yet they are made.
    """
    read = _read(config)
    done = ["tables made"]
    with closing(open_database(read, as_is=True)) as database:
        with database.session() as session:
            found = standing(session, database.words)
        if found is not None:
            with database.session(write=True, durable=True) as session:
                done = [step.id for step in carry_out(session, database.words, database.name)]
    with closing(open_database(read)) as database, database.session() as session:
        found = standing(session, database.words)  # and opening it makes what tables it lacks
    schema = found.head if found else None
    if as_json:
        print_json({"database": database.name, "schema": schema, "done": done})
        return
    for step in done:
        click.echo(step)
    click.echo(f"schema {schema}" if done else f"schema {schema}, nothing to do")


@db.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@config_option
@json_option
@fails_cleanly
def backup(file: Path, config: str | None, as_json: bool) -> None:
    """Copy the database to FILE, a new one.

    It is copied as it is in one moment; everybody may go on using it meanwhile. What has not yet
    come in from the journal is not in it. For PostgreSQL, use pg_dump.
    """
    read = _read(config)
    if read.storage.database_url is not None:
        raise click.UsageError(
            'PostgreSQL has its own tool: pg_dump -Fc -f FILE "$TRUNKLINE_DATABASE_URL"'
        )
    if file.exists():
        raise click.UsageError(f"{file} exists; a backup is written over nothing")
    from trunkline.storage.sqlite import SqliteDatabase

    database = SqliteDatabase(sqlite_file(read))
    hidden = as_json or not sys.stderr.isatty()
    with click.progressbar(length=1, label="copying", file=sys.stderr, hidden=hidden) as bar:

        def progress(done: int, pages: int) -> None:
            bar.length = pages
            bar.update(done - bar.pos)

        database.backup(file, progress)
    size_bytes = file.stat().st_size
    if as_json:
        print_json({"database": database.name, "file": str(file), "bytes": size_bytes})
    else:
        click.echo(f"wrote {file}: {size_bytes} bytes")


def _read(path: str | None) -> Config:
    """Read the configuration alone: whoever builds the whole line opens the database."""
    config = load(Path(path) if path is not None else None)
    for warning in config.warnings:
        click.echo(f"warning: {warning}", err=True)
    return config
