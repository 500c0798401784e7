"""Records of audits: what enters the manifest, and what must not take the place of an earlier record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from pruneguard.bundle import Audit, BundleDraft
from pruneguard.evaluation.audit import AuditResult, AuditSettings
from pruneguard.measurement import Measurement


@dataclass(frozen=True)
class Judged:
    """An audit's result, its record, and why the record did not enter the manifest; empty if it did."""

    result: AuditResult
    record: Audit
    objection: str = ""


def to_record(
    result: AuditResult, control: Sequence[Measurement], subject: str, settings: AuditSettings, draft: BundleDraft
) -> Audit:
    """The manifest's record of a result, bound to the files and settings of the subject in the draft."""
    audit = Audit(
        concept=result.concept,
        subject=subject,
        limit=settings.limit,
        floor=settings.floor,
        keep=settings.keep,
        passed=False,
        measurements=list(result.measurements),
        control=list(control),
        prompts=result.prompts,
        digests=draft.digests(subject),
        settings=draft.settings_digest(subject),
    )
    return msgspec.structs.replace(audit, passed=audit.judgement().status == "passed")


def record_audits(
    draft: BundleDraft,
    subject: str,
    results: Sequence[AuditResult],
    controls: Mapping[str, Sequence[Measurement]],
    settings: AuditSettings,
    *,
    images: int,
) -> list[Judged]:
    """Writes into the manifest the results that may be recorded; see `objection`, also for `images`."""
    judged = []
    for result in results:
        record = to_record(result, controls[result.concept], subject, settings, draft)
        reason = objection(record, _earlier(record, draft.manifest.audits), images)
        if reason is None:
            draft.add_audit(record)
        judged.append(Judged(result, record, reason or ""))
    return judged


def objection(new: Audit, earlier: Audit | None, images: int) -> str | None:
    """Why an audit must not enter the manifest in place of an earlier one; None if it may.

    This prevents re-running an audit of the same weights until it passes by chance:

    * A failed audit replaces a passed one, whatever its seed, number of pictures or detector.
    * A passed audit needs at least `images` target pictures, the number that the training stage drew.
    * On the same weights a passed audit also needs the detector and the seed of the earlier one and at least as many
      target pictures.
    * A failed audit replaces a failed one of the same detector only. Otherwise the first failure could be replaced by
      that of another detector, and then by that detector's pass.
    """
    drawn, before = new.drawn, None
    if earlier is not None and sorted(new.digests.values()) == sorted(earlier.digests.values()):
        before = earlier.drawn  # an audit of the same weights
    ours = drawn.protocol.detector
    if earlier and before and ours != before.protocol.detector and (new.passed or not earlier.passed):
        return f"the earlier audit of the same weights was read by {before.protocol.detector}, this one by {ours}"
    if not new.passed:
        return None
    needed = max(before.count, images) if before else images
    if drawn.count < needed:
        return f"it passed on {drawn.count} pictures that call for the concept; at least {needed} are needed"
    if before and _first_seed(drawn) != _first_seed(before):
        first, other = _first_seed(drawn), _first_seed(before)
        return f"it passed from seed {first}; the earlier audit of the same weights was drawn from {other}"
    return None


def _earlier(new: Audit, audits: Sequence[Audit]) -> Audit | None:
    """The recorded audit that a new one would replace, or one of the same files under another name."""
    same = [audit for audit in audits if (audit.concept, audit.unet) == (new.concept, new.unet)]
    content = sorted(new.digests.values())
    return next(
        (audit for audit in same if audit.subject == new.subject),
        next((audit for audit in same if sorted(audit.digests.values()) == content), None),
    )


def _first_seed(drawn: Measurement) -> int | None:
    return drawn.seeds[0] if drawn.seeds else None
