"""v1 calls whose parameters were uploaded before: ``{"upload": "<id>"}`` in their place.

What was uploaded is the very JSON that the client would have posted, and means
the same: same checks, same answers, and the same request for its Idempotency-Key.
"""

import logging
from dataclasses import replace

from functions.api.door import Call, Step
from functions.api.envelope import off_loop
from functions.api.errors import Problem, naming
from functions.api.transport import json_parameters
from functions.api.v1_send import accepted_answer, checked_key
from shared.domain.errors import InvalidValue, Unavailable
from shared.domain.upload import Upload, upload_of
from shared.flow.accept import accepted_before

log = logging.getLogger(__name__)


def uploadable(step: Step, *, name: str) -> Step:
    """Return the step that also takes its parameters from an upload; ``name`` tells the steps apart."""

    async def taken(call: Call) -> object:
        if call.parameters.values.get("upload") is None:
            return await step(call)
        upload = _named(call)
        used_for = f"{name}:{upload.id}"
        raw = None
        if upload.expires_at > call.services.clock():
            await call.holding.take(call.services.max_request_bytes)
            raw = await call.services.stores.uploads.read(upload.key)
        if raw is None:
            return await _answer_of_before(call, upload, used_for)
        parameters = await off_loop(len(raw), json_parameters, raw)
        answer = await step(replace(call, parameters=parameters, upload=used_for))
        await _remove(call, upload)
        return answer

    return taken


def _named(call: Call) -> Upload:
    if call.parameters.values.keys() != {"upload"}:
        raise Problem("InvalidParameter", "`upload` stands for all parameters: no other may stand beside it")
    with naming("InvalidParameter", "upload"):
        given = call.parameters.values["upload"]
        if not isinstance(given, str):
            raise InvalidValue("it is not the id of an upload")
        return upload_of(call.tenant.server.id, given)


async def _answer_of_before(call: Call, upload: Upload, used_for: str) -> object:
    """Return the answer that the upload's request got, if this is the same request again.

    Raises:
        Problem: it is not; another server's upload is unknown to this one.
    """
    before = await accepted_before(call.tenant.server.id, checked_key(call), used_for, using=call.services.using)
    if before is not None:
        return accepted_answer(before)
    if upload.expires_at <= call.services.clock():
        raise Problem("UploadExpired", f"The upload had to be used by {upload.expires_at:%Y-%m-%dT%H:%M:%SZ}")
    raise Problem(
        "UploadNotFound",
        "There is no upload with this id: it was never put, not put completely, or has been used already",
    )


async def _remove(call: Call, upload: Upload) -> None:
    """Remove what was used; it has an end of its own, so a failure here is not the client's."""
    try:
        await call.services.stores.uploads.delete(upload.key)
    except Unavailable:
        log.warning("upload_not_removed", exc_info=True, extra={"server_id": upload.server_id})
