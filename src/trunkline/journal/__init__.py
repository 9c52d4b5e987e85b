"""The durable record of every attempt: written by its process, read by whoever holds the lock.

`frames` is what a file looks like, `writer` appends to it, `ingest` moves it into a store. A file
is `<data>/journal/<owner>.<number>.log`, where the owner is one life of one `Journal`
(`<time>-<pid>-<random>`). Its process holds a lock (flock) on the file for as long as it may still
write to it: a file whose lock can be taken gets no more records.
"""

from trunkline.journal.frames import read
from trunkline.journal.ingest import IngestReport, RowStore, ingest
from trunkline.journal.writer import Journal

__all__ = ["IngestReport", "Journal", "RowStore", "ingest", "read"]
