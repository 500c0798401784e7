"""Records of audits: what enters the manifest, and what must not take the place of an earlier record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from pruneguard.bundle import DRAWN, IMPLICIT, Audit, BundleDraft
from pruneguard.evaluation.audit import AuditResult, AuditSettings
from pruneguard.measurement import Measurement, find


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
        space=result.space,
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
    trained: AuditSettings,
) -> list[Judged]:
    """Writes into the manifest the results that may be recorded; see `objection`.

    `trained` has the settings of the training stage's audit.
    """
    judged = []
    for result in results:
        record = to_record(result, controls[result.concept], subject, settings, draft)
        reason = objection(record, _earlier(record, draft.manifest.audits), trained)
        if reason is None:
            draft.add_audit(record)
        judged.append(Judged(result, record, reason or ""))
    return judged


def objection(new: Audit, earlier: Audit | None, trained: AuditSettings) -> str | None:
    """Why an audit must not enter the manifest in place of an earlier one; None if it may.

    This prevents re-running an audit of the same weights until it passes by chance:

    * A failed audit replaces a passed one, whatever its seed, number of pictures or detector.
    * A passed audit needs at least as many pictures that call for the concept as the training stage drew, of naming and
      of implicit prompts each, and a space of settings that covers the training stage's.
    * On the same weights a passed audit also needs the detector and the seed of the earlier one, at least as many
      pictures, and a space that covers the earlier one's.
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
    same = earlier if before else None
    if reason := _fewer(new, same, trained) or _narrower(new, same, trained):
        return reason
    if before and _first_seed(drawn) != _first_seed(before):
        first, other = _first_seed(drawn), _first_seed(before)
        return f"it passed from seed {first}; the earlier audit of the same weights was drawn from {other}"
    return None


def _fewer(new: Audit, same: Audit | None, trained: AuditSettings) -> str:
    """Why a passed audit has too few pictures, in words; `same` is an earlier audit of the same weights."""
    for name, images, words in (
        (DRAWN, trained.target, "that call for the concept"),
        (IMPLICIT, trained.implicit, "whose prompts do not name the concept"),
    ):
        drawn, before = find(new.measurements, name), find(same.measurements, name) if same else None
        count, needed = drawn.count if drawn else 0, max(before.count if before else 0, images)
        has_prompts = name == DRAWN or drawn is not None or before is not None
        if has_prompts and count < needed:
            return f"it passed on {count} pictures {words}; at least {needed} are needed"
    return ""


def _narrower(new: Audit, same: Audit | None, trained: AuditSettings) -> str:
    """Why a passed audit covers too small a space, in words; `same` is an earlier audit of the same weights."""
    for space, words in (
        (same.space if same else None, "the earlier audit of the same weights"),
        (trained.covered, "training's audit"),
    ):
        if space is not None and not (new.space and new.space.covers(space)):
            ours = new.space.show() if new.space else "the sampler's own settings"
            return f"it passed on {ours}; {words} covered {space.show()}"
    return ""


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
