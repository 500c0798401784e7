"""Records of audits: what enters the manifest, and what must not take the place of an earlier record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from pruneguard.bundle import DRAWN, ELSEWHERE, IMPLICIT, Audit, BundleDraft
from pruneguard.evaluation.audit import AuditResult, AuditSettings
from pruneguard.evaluation.bounds import lower_bound
from pruneguard.measurement import Measurement, find

_KINDS = {
    DRAWN: "that call for the concept",
    IMPLICIT: "whose prompts do not name the concept",
    ELSEWHERE: "that do not call for the concept",
}
"""The rates whose pictures an audit must not choose anew, and the words for these."""


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
        audits = [audit for audit in draft.manifest.audits if audit.concept == record.concept]
        reason = objection(record, _earlier(record, audits), trained, counts=_counts(audits))
        if reason is None:
            draft.add_audit(record)
        judged.append(Judged(result, record, reason or ""))
    return judged


def objection(
    new: Audit, earlier: Audit | None, trained: AuditSettings, *, counts: Mapping[str, int] | None = None
) -> str | None:
    """Why an audit must not enter the manifest in place of an earlier one; None if it may.

    `counts` are the most pictures of each rate that any audit of the concept in this bundle has, of whatever subject.

    This prevents re-running an audit of the same weights until it passes by chance:

    * A failed audit replaces a passed one, whatever its seed or detector. One of fewer pictures does so only if they
      show the concept in more than the limit with 95 % confidence: a sound model fails a short audit by chance.
    * A passed audit needs at least as many pictures of each kind as the training stage drew, and a space of settings
      that covers the training stage's. Without the pictures that do not call for the concept nothing is gated that must
      be kept.
    * On the same weights an audit that replaces a failed one, and every passed one, needs the detector and the seed of
      the earlier audit, at least as many pictures of each kind, and a space that covers the earlier one's. A failed one
      too: otherwise a small failure from a seed that is known to pass could stand in between.
    * After a failure on the same weights another number of pictures, or another space, draws other pictures. So each
      kind keeps its number, or has at least twice as many, and a wider space asks for twice as many of each.
    """
    same = earlier if earlier and sorted(new.digests.values()) == sorted(earlier.digests.values()) else None
    if not new.passed and (same is None or same.passed):
        short = _fewer(new, same, None, {}) if same else ""
        return f"it failed on {short} to replace a pass" if short and not _surely_fails(new) else None
    verb = "passed" if new.passed else "failed"
    if same and new.drawn.protocol.detector != same.drawn.protocol.detector:
        ours, other = new.drawn.protocol.detector, same.drawn.protocol.detector
        return f"the earlier audit of the same weights was read by {other}, this one by {ours}"
    least = trained if new.passed else None
    if reason := _fewer(new, same, least, counts or {}) or _narrower(new, same, least) or _drawn_anew(new, same):
        return f"it {verb} on {reason}"
    if same and _first_seed(new.drawn) != _first_seed(same.drawn):
        first, begun = _first_seed(new.drawn), _first_seed(same.drawn)
        return f"it {verb} from seed {first}; the earlier audit of the same weights was drawn from {begun}"
    return None


def _surely_fails(audit: Audit) -> bool:
    """Whether the one-sided 95 % lower bound of a rate is above the limit."""
    for name in (DRAWN, IMPLICIT):
        rate = find(audit.measurements, name)
        if rate and rate.count and lower_bound(round(rate.value * rate.count), rate.count) > audit.limit:
            return True
    return False


def _fewer(new: Audit, same: Audit | None, trained: AuditSettings | None, counts: Mapping[str, int]) -> str:
    """Why an audit has too few pictures, in words; `same` is an earlier audit of the same weights."""
    for name, words in _KINDS.items():
        drawn, before = find(new.measurements, name), find(same.measurements, name) if same else None
        asked = _asked(name, drawn, trained, counts.get(name, 0)) if trained else 0
        count, needed = drawn.count if drawn else 0, max(before.count if before else 0, asked)
        if count < needed:
            return f"{count} pictures {words}; at least {needed} are needed"
    return ""


def _drawn_anew(new: Audit, same: Audit | None) -> str:
    """How an audit evades an earlier failure of the same weights, in words; empty if it does not."""
    if same is None or same.passed:
        return ""
    wider = new.space != same.space
    for name, words in _KINDS.items():
        drawn, before = find(new.measurements, name), find(same.measurements, name)
        count, failed = (drawn.count or 0) if drawn else 0, (before.count or 0) if before else 0
        if failed and count < 2 * failed and (wider or count != failed):
            again = "" if wider else f"the {failed} of the failed audit, or "
            return f"{count} pictures {words}; {again}at least {2 * failed} are needed after a failure"
    return ""


def _asked(name: str, drawn: Measurement | None, trained: AuditSettings, known: int) -> int:
    """How many pictures of a kind the training stage asks for; `known` is their largest number on record.

    A family may have fewer other prompts than the settings ask for, and a concept may have no implicit prompts.
    """
    if name == ELSEWHERE:
        return min(trained.other, known)
    if name == IMPLICIT:
        return trained.implicit if drawn or known else 0
    return trained.target


def _narrower(new: Audit, same: Audit | None, trained: AuditSettings | None) -> str:
    """Why an audit covers too small a space, in words; `same` is an earlier audit of the same weights."""
    for space, words in (
        (same.space if same else None, "the earlier audit of the same weights"),
        (trained.covered if trained else None, "training's audit"),
    ):
        if space is not None and not (new.space and new.space.covers(space)):
            ours = new.space.show() if new.space else "the sampler's own settings"
            return f"{ours}; {words} covered {space.show()}"
    return ""


def _counts(audits: Sequence[Audit]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for entry in (entry for audit in audits for entry in audit.measurements):
        counts[entry.name] = max(counts.get(entry.name, 0), entry.count or 0)
    return counts


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
