"""Lists everything with our labels, as metadata only: the server leaves specs and statuses out of the answer.

Source: Kubernetes API concepts, "Metadata-only fetches" (PartialObjectMetadata of meta.k8s.io/v1).
"""

from collections.abc import AsyncGenerator
from typing import Literal
from urllib.parse import quote

import msgspec

from kube_job_runner.adapters.kubernetes import answers, api_objects
from kube_job_runner.adapters.kubernetes.client import Client
from kube_job_runner.adapters.kubernetes.object_facts import attempt_of_labels, controlling_job
from kube_job_runner.domain import names
from kube_job_runner.ports import OwnedObject

METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"


class _Page(msgspec.Struct):
    metadata: api_objects.Metadata
    items: list[api_objects.Bare] | None = None


_decoder = msgspec.json.Decoder(_Page)


async def pages(
    client: Client, kind: Literal["Job", "Pod"], path: str, *, label_selector: str, limit: int
) -> AsyncGenerator[list[OwnedObject]]:
    """Yield the objects of a kind at a path, page by page.

    Raises:
        TemporaryError: a page did not come, or the list expired before its last page (410), so it proves nothing.
    """
    selector = quote(label_selector, safe="")
    token = ""
    while True:
        page = await _page(
            client, kind, f"{path}?labelSelector={selector}&limit={limit}&continue={quote(token, safe='')}"
        )
        yield [_owned(kind, item.metadata) for item in page.items or () if item.metadata.uid]
        token = page.metadata.continue_ or ""
        if not token:
            return


async def _page(client: Client, kind: str, target: str) -> _Page:
    action = f"listing our {kind}s"
    answer = await client.request("GET", target, action=action, accept=METADATA_ONLY)
    if not answer.ok:
        raise answers.as_temporary(answers.refusal(answer, action=action))
    try:
        return _decoder.decode(answer.body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise answers.temporary(f"{action}: the answer cannot be read: {error}", delay_seconds=5.0) from None


def _owned(kind: Literal["Job", "Pod"], meta: api_objects.Metadata) -> OwnedObject:
    labels = meta.labels or {}
    job_id, attempt = attempt_of_labels(labels)
    return OwnedObject(
        kind=kind,
        namespace=meta.namespace or "",
        name=meta.name or "",
        uid=meta.uid or "",
        created_at=meta.creation_timestamp,
        job_id=job_id,
        attempt=attempt,
        owner_uid=controlling_job(meta),
        installation=labels.get(names.INSTALLATION_LABEL, ""),
        deleting=meta.deletion_timestamp is not None,
    )
