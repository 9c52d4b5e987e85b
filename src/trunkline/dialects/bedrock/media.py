"""Pictures and files -> blocks, whose names and formats are restricted.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_DocumentBlock.html
2026-11-20
Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ImageBlock.html
2026-11-20
"""

from __future__ import annotations

import re
from typing import Any

from trunkline.errors import CapabilityMissing
from trunkline.types import File, Image

Json = dict[str, Any]
_MAGIC = {"/9j/": "jpeg", "R0lGOD": "gif", "UklGR": "webp"}
_PICTURES = frozenset({"png", "jpeg", "gif", "webp"})
_DOCUMENTS = frozenset({"pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"})
_MEDIA_TYPES = {
    "application/msword": "doc",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "text/markdown": "md",
    "text/plain": "txt",
    "video/3gpp": "three_gp",
    "video/quicktime": "mov",
    "video/x-flv": "flv",
    "video/x-matroska": "mkv",
    "video/x-ms-wmv": "wmv",
}
_UNFIT = re.compile(r"[^A-Za-z0-9()\[\]-]+")
_MOST_NAME_CHARS = 190
_OF_DOCUMENT = ("citations", "context")
BUCKET = "s3://"


class Media:
    """Spells the pictures and files of one request; no two documents may have one name."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def image(self, part: Image) -> Json:
        """Spell a picture.

        Raises:
            CapabilityMissing: it is somewhere on the web.
        """
        source = _source(part.data, part.url, "pictures")
        kind = (part.media_type or "").removeprefix("image/")
        kind = "jpeg" if kind == "jpg" else kind
        if kind not in _PICTURES:
            data = part.data or ""
            kind = next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), "png")
        return {"image": {"format": kind, "source": source}}

    def file(self, part: File) -> Json:
        """Spell a document, a picture or a film.

        Raises:
            CapabilityMissing: it is somewhere on the web, or uploaded elsewhere.
        """
        media_type = (part.media_type or "").partition(";")[0].strip().lower()
        place = part.url or part.id
        if media_type.startswith("image/"):
            return self.image(Image(data=part.data, url=place, media_type=media_type))
        source = _source(part.data, place, "files")
        if media_type.startswith("video/"):
            kind = _MEDIA_TYPES.get(media_type, media_type.removeprefix("video/"))
            return {"video": {"format": kind, "source": source}}
        said = {name: part.extra[name] for name in _OF_DOCUMENT if part.extra.get(name)}
        kind = _document_kind(media_type, part.name or place or "")
        return {
            "document": {"format": kind, "name": self._name(part.name), "source": source} | said
        }

    def _name(self, name: str | None) -> str:
        fitting = _UNFIT.sub(" ", name or "")[:_MOST_NAME_CHARS].strip() or "document"
        name, number = fitting, 1
        while name in self._names:
            number += 1
            name = f"{fitting} {number}"
        self._names.add(name)
        return name


def _source(data: str | None, place: str | None, what: str) -> Json:
    if data is not None:
        return {"bytes": data}
    if place is not None and place.startswith(BUCKET):
        return {"s3Location": {"uri": place}}
    raise CapabilityMissing(
        f"Bedrock does not fetch {what}; send them as base64 (a data: URL) or as an s3:// URL of a "
        "bucket that the provider's 'buckets' list, or ask another model",
        param="messages",
    )


def _document_kind(media_type: str, name: str) -> str:
    """Return the format: as the media type says, else as the name does."""
    said = _MEDIA_TYPES.get(media_type, media_type.rpartition("/")[2])
    if said in _DOCUMENTS:
        return said
    ending = name.rpartition(".")[2].lower()
    if ending in _DOCUMENTS:
        return ending
    return "txt" if media_type.startswith("text/") else "pdf"
