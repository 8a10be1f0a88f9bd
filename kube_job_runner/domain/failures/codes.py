"""Reason codes and categories: `ImageNotFound` is the public reason code of the category `image_not_found`.

Records, metrics and answers hold codes; the failure table and file names hold categories. Only this module converts them.
"""

import re

_WORD_STARTS = re.compile(r"(?<!^)(?=[A-Z])")
_SEPARATORS = str.maketrans("", "", "_- ")


def reason_code(category: str) -> str:
    """Return the public reason code of a category: `image_not_found` is `ImageNotFound`."""
    return "".join(part.capitalize() for part in category.split("_"))


def category_name(code: str) -> str:
    """Return the category of a reason code: `ImageNotFound` is `image_not_found`."""
    return _WORD_STARTS.sub("_", code).lower()


def key(name: str) -> str:
    """Return what all spellings of one reason share: `ImageNotFound`, `image_not_found` and `image-not-found` are equal."""
    return name.strip().translate(_SEPARATORS).lower()
