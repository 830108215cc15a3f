"""Certificate kernel: claims that a reward forgot rows ("Lineage" in docs/formats.md).

An artifact's digest is that of its manifest, and a manifest names its parent, its tables and what its edit says of
itself. So nobody can change afterwards what is said of a reward without giving it another name, and a line of edits is
shown by the manifests on it. That is what is checked here: that the manifests say what is claimed. Whether what they
say was done is another matter. No training is done again, and of a set of weights nobody can show that some rows left
no trace in it (Thudi et al. 2022): so the verdict is `recipe not re-run`, never `proved`. Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rewarden.certificate.kernel_artifact import MANIFEST, Reward
from rewarden.certificate.kernel_claim import Claim, rewards_of
from rewarden.certificate.kernel_json import canonical, digest, refuse, used
from rewarden.certificate.kernel_report import RECIPE
from rewarden.certificate.kernel_sentence import number, word
from rewarden.certificate.kernel_shapes import anything, array, digest_text, maybe, one_of, rational, read, text, within

ROADS = {
    "exact": "exactly: the weights are said to be those of a training that never saw them",
    "certified": "certified: the weights are said to be ({epsilon}, {delta})-indistinguishable from never having seen "
    "them",
    "approximate": "approximately: nothing is guaranteed",
}
MAX_LINE = 1000  # edits since
_COUNT = within(0, 1 << 40)
_TABLE = {"table": digest_text, "rows": _COUNT}
_LINEAGE = {
    "artifact": digest_text, "parent": digest_text, "since": [text], "road": one_of(*ROADS), "forgotten": _COUNT,
    "left": _COUNT, "epsilon": maybe(rational), "delta": maybe(rational), "data": [_TABLE],
    "ledger": maybe(digest_text),
}  # fmt: skip
_EDIT = {"kind": text, "rule": anything, "statement": anything}


def read_lineage(value: object) -> Claim:
    """Such a claim has a name that no rule has, and is never one that must be proved."""
    found = read(value, {"rule": text, "severity": "should", "rewards": rewards_of, "lineage": _LINEAGE}, "a claim")
    said, names = found["lineage"], list(found["rewards"])
    if [f"lineage of {name}" for name in names] != [found["rule"]]:
        refuse("a claim about a lineage is of one reward, and is called after it")
    if {said["epsilon"] is None, said["delta"] is None} != {said["road"] != "certified"}:
        refuse("epsilon and delta are those of the certified road")
    return Claim(
        digest=digest(canonical(value)), rule=found["rule"], severity="should", rewards=found["rewards"], lineage=said,
        names=(), units=(), discrete=(), records=(), calls=(), clauses=(), goals=(), boxes=(), instances=None,
    )  # fmt: skip


def traced(
    claim: Claim, rewards: Mapping[str, Reward], evidence: object, head: Mapping[str, object]
) -> tuple[str, str, int]:
    """Verdict and reason; refused unless each manifest on the line names the next, and the last says all of this."""
    used.add("kernel_lineage")
    line = array(read(evidence, {**head, "line": anything}, "a lineage")["line"], "the line", MAX_LINE)
    said, (name,) = claim.lineage or {}, claim.rewards
    manifest, at, since = rewards[name].lineage, rewards[name].digest, list[str]()
    for value in line:
        since.append(read(manifest["edit"], _EDIT, "an edit")["kind"])
        at = digest(canonical(value))
        if manifest["parent"] != at:
            refuse("a manifest on the line is not its child's parent")
        manifest = read(value, MANIFEST, "a manifest")
    if (at, tuple(reversed(since)), manifest["parent"]) != (said["artifact"], said["since"], said["parent"]):
        refuse("the line of edits is not the one that is claimed")
    _require_said(manifest, said)
    parent = _parent(claim, rewards, said["parent"])
    return RECIPE, f"so say the manifests, by their digests; whether it was done was not looked at; {parent}", 0


def _require_said(manifest: Mapping[str, Any], said: Mapping[str, Any]) -> None:
    """The manifest of what came of the request says what is claimed, text for text."""
    kind, _, statement = read(manifest["edit"], _EDIT, "an edit").values()
    told = {key: str(said[key]) for key in ("road", "forgotten", "left", "epsilon", "delta") if said[key] is not None}
    shape = [{"name": anything, "bytes": anything, "table": digest_text, "rows": _COUNT}]
    tables = [{key: source[key] for key in _TABLE} for source in read(manifest["data"], shape, "the data")]
    if kind != "unlearn" or not isinstance(statement, dict) or {key: statement.get(key) for key in told} != told:
        refuse("the manifest does not say this of a request to forget")
    if tables != list(said["data"]):
        refuse("the tables that are left are not those that the manifest names")


def _parent(claim: Claim, rewards: Mapping[str, Reward], wanted: str) -> str:
    (name,) = claim.rewards
    parent = rewards.get(f"{name}.parent")
    if parent is None:
        return f"its parent was not given (--reward {name}.parent=ARTIFACT)"
    if parent.digest != wanted:
        refuse(f"{name}.parent is {parent.digest}, the claim is about {wanted}")
    return "its parent was given, and is that artifact"


def told(claim: Claim) -> str:
    """The claim in words."""
    said, ((name, own),) = claim.lineage or {}, claim.rewards.items()
    since = ", ".join(map(word, said["since"]))
    later = f" by later edits ({since}) from {said['artifact']}, and that" * bool(since)
    road = ROADS[said["road"]].format(**{k: number(said[k]) for k in ("epsilon", "delta") if said[k] is not None})
    tables = ", ".join(f"{one['table']} ({one['rows']} records)" for one in said["data"]) or "no table"
    ledger = f"; its ledger is, by the issuer's word, {said['ledger']}" if said["ledger"] is not None else ""
    return (
        f"lineage of {word(name)}: {word(name)}, {own}, was made{later} from {said['parent']} by forgetting "
        f"{said['forgotten']} rows, {road}; {said['left']} rows are left, of {tables}{ledger}."
    )
