"""Image references: checked at submit by the grammar of the distribution project, so that no node has to refuse them.

Source: github.com/distribution/reference, reference.go (grammar in its header) and regexp.go.
"""

import functools
import re

REPOSITORY_MAX = 255  # RepositoryNameTotalLengthMax

_DOMAIN_COMPONENT = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_IPV6 = r"\[(?:[a-fA-F0-9:]+)\]"
_DOMAIN = rf"(?:{_DOMAIN_COMPONENT}(?:\.{_DOMAIN_COMPONENT})*|{_IPV6})(?::[0-9]+)?"
_PATH_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(
    rf"(?P<name>(?:(?P<domain>{_DOMAIN})/)?(?P<path>{_PATH_COMPONENT}(?:/{_PATH_COMPONENT})*))"
    rf"(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?",
)


@functools.lru_cache(maxsize=1024)  # most jobs share a few images, and this is on the hot path of every submit
def fault(reference: str) -> str | None:
    """Return what is wrong with an image reference, or None when it is well formed."""
    if reference and reference.split() != [reference]:
        return "must not hold white space"
    if "://" in reference:
        return "must be an image reference, not a URL; leave out the scheme"
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        lowered = _REFERENCE.fullmatch(reference.lower())
        if lowered is not None:
            return "repository names are lower case"
        return "is not an image reference ([registry[:port]/]repository[:tag][@digest])"
    domain = match["domain"]
    if domain and domain != domain.lower() and domain.isalnum():
        # The grammar takes a first part in capitals for a host name without a dot. Nobody means that.
        return "repository names are lower case"
    if len(match["name"]) > REPOSITORY_MAX:
        return f"repository name is longer than {REPOSITORY_MAX} characters"
    if re.fullmatch(r"[0-9a-f]{64}", match["name"]):
        return "is a bare image id; name a repository"
    return None
