"""Run the published protocols on the user's copies of the published files, beside the published figures."""

from typing import TYPE_CHECKING

from genemamba_sc._lazy import lazily

if TYPE_CHECKING:
    from genemamba_sc.benchmark.published._data import PublishedData, read_published
    from genemamba_sc.benchmark.published._facts import PublishedSet
    from genemamba_sc.benchmark.published._scores import published_scores
    from genemamba_sc.benchmark.published._sets import published_set
    from genemamba_sc.benchmark.published._splits import Protocol, Split

__all__ = [
    "Protocol",
    "PublishedData",
    "PublishedSet",
    "Split",
    "published_scores",
    "published_set",
    "read_published",
]

_HOMES = {
    "Protocol": "_splits",
    "PublishedData": "_data",
    "PublishedSet": "_facts",
    "Split": "_splits",
    "published_scores": "_scores",
    "published_set": "_sets",
    "read_published": "_data",
}

__getattr__ = lazily(__name__, _HOMES)
