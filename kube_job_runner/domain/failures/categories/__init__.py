"""All categories of ends and of waiting, and the search for one by its name or reason code."""

from kube_job_runner.domain.failures import codes
from kube_job_runner.domain.failures.categories import cluster_side, images, job_ends, nodes, programs
from kube_job_runner.domain.failures.categories.category import WHOSE, Category, Owner

CATEGORIES: tuple[Category, ...] = tuple(
    sorted(
        (
            *images.CATEGORIES,
            *programs.CATEGORIES,
            *nodes.CATEGORIES,
            *cluster_side.CATEGORIES,
            *job_ends.CATEGORIES,
        ),
        key=lambda category: category.name,
    )
)
BY_NAME: dict[str, Category] = {category.name: category for category in CATEGORIES}
_BY_KEY = {codes.key(category.name): category for category in CATEGORIES}

__all__ = ["BY_NAME", "CATEGORIES", "WHOSE", "Category", "Owner", "code_of", "find"]


def find(text: str) -> Category | None:
    """Return the category of a code or name: `ImageNotFound`, `image_not_found` and `image-not-found` are the same."""
    return _BY_KEY.get(codes.key(text))


def code_of(text: str) -> str:
    """Return the reason code of a code or name: `out_of_memory` is `OutOfMemory`; what is no category stays as it is."""
    category = find(text)
    return text if category is None else category.code
