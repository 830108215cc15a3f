"""Every code that the application's errors bring in, each with one paragraph; `rewarden.spec_lang.codes` says how.

C certificates and keys; D drafts of specs; G commands and configs. `explanations` collects those of all rooms.
"""

from __future__ import annotations

EXPLANATIONS: dict[str, str] = {
    "E20": "The reward was not learned as the config says, so that it cannot be learned again without some rows.",
    "E36": "No bound was proved on how far an edit of weights moves the reward, so that it promises nothing.",
    "E39": "The time was up before an edit was made. Give it more, or name fewer rules; nothing is written.",
    "C30": "A key cannot be written there. Keys are never overwritten.",
    "C31": "The file holds no Ed25519 key in PEM form that can be used.",
    "C32": "A private key that others than its owner can read. Take their permission away.",
    "C33": "The signature does not fit the statement and the key: the statement was changed, or another key signed it.",
    "C34": "The certificate's envelope is missing or is not of the documented form.",
    "C35": "This key has signed the certificate or the sign-off already.",
    "C36": "The file is no signature of a model as the OpenSSF's model-signing writes them.",
    "C37": "The file is no sign-off of a spec, or is one of another spec or of an earlier text of it.",
    "C40": "The kernel refused all evidence of what was about to be certified, or found another value at a point than "
    "the verifier did, so nothing was written. This is a bug in Rewarden.",
    "C41": "There is nothing to certify: no rule has a claim.",
    "C42": "The certificate's claims cannot be read.",
    "C45": "A checker that was asked to be light found torch or z3 in its process.",
    "C46": "A certificate that rewarden.toml names is not, or no longer, about the spec and the artifacts that are "
    "there, or does not meet the policy. Verify, issue and sign it again.",
    "C70": "A certificate that earlier violations should be read from is damaged, or is none.",
    "D18": "No column of the table can be a feature: a number, a bool, or one of a few words.",
    "D25": "No column of the table can be declared as it is. The help says which changes would let them be.",
    "D27": "The table has more columns than a draft for a person to review.",
    "D32": "The data hold vectors of another encoder than the one that was named.",
    "G01": "rewarden.toml cannot be read, or is not TOML.",
    "G02": "rewarden.toml has a setting that does not exist.",
    "G03": "A setting in rewarden.toml has a value of the wrong form.",
    "G05": "Something is in the way already, and is not overwritten.",
    "G06": "The file or folder cannot be written.",
    "G18": "A learner's constraints name a rule that speaks of other rewards, or leave no rule at all.",
    "G24": "A command that writes a folder was given none. Add -o DIR.",
    "G25": "What an edit near many rows promises comes with a file of rows. Say where that is to be.",
    "G30": "A reward is identified exactly, up to a shift, or up to an affine map: exact, shift or affine.",
    "G31": "The spec declares no reward, so that none can be learned or imported for it.",
    "G32": "It is unclear which record type of the spec is meant.",
    "G36": "A safetensors file holds tensors alone: import it with a declaration of its layers, --architecture FILE.",
    "G37": "An option of `rewarden import` that does not go with what the file is.",
    "G33": "Constants of an imported network are taken exactly, or rounded to the nearest: exact or nearest.",
    "G40": "The source of a draft is nothing that features can be read off.",
    "G42": "What `rewarden inspect` was asked for makes no sense with this artifact or these data.",
    "G43": "The witnesses to look around are to come from the JSON of a verification, and the file is none.",
    "G47": "A list of requirements is a CSV with the columns id and text, each id once.",
    "G45": "A PDF was asked for, and the package that makes it is not installed.",
    "G46": "A report was asked for, and no file to write it to.",
    "G50": "There is no certificate at that place.",
    "G51": "Two options about the key were given, of which one makes sense.",
    "G52": "The public key that a certificate should be checked against cannot be read.",
    "G53": "The file of a policy cannot be read, or is not TOML.",
    "G54": "A policy says something that it cannot say, or names a key or a role that is not there.",
    "G55": "A certificate should be checked in an arithmetic whose package is not installed here.",
    "G56": "A certificate was asked for of verdicts under float32 semantics. Certificates are about real semantics.",
    "G60": "No explanation is kept for this code.",
    "G61": "The folder that a result should be written to does not exist. Results never make folders.",
    "G62": "Two specs are compared, the old one and the new one.",
    "G63": "Rules were named, or several specs, where the command is about all rules of one spec.",
    "G64": "A reward is known exactly, up to a shift, or up to an affine map: exact, shift or affine.",
    "G65": "A parameter was set that neither of the two specs that are compared declares.",
    "G66": "A script of that name exists already and holds another text. Scripts are never overwritten.",
    "G70": "A param is set as NAME=VALUE.",
    "G71": "No spec is named, on the command line or in rewarden.toml, or it is unclear which.",
    "G72": "The spec declares no reward of that name.",
    "G73": "A reward is bound twice.",
    "G74": "There is no artifact at that place, for one of the rewards.",
    "G75": "No reward is bound, on the command line, in rewarden.toml or in the call.",
    "G77": "The ring of a patch is a percentage above 0 and at most 100.",
    "G79": "More artifacts are given than the spec declares rewards.",
    "G85": "The environment, module or attribute that a draft should be made of cannot be found or fails.",
    "G86": "A Gymnasium environment was named, and Gymnasium is not installed.",
    "G87": "Nothing in the space or the network that was named has a fixed number of columns.",
    "G88": "There is neither a reward nor data to suggest rules from.",
    "G89": "What is asked of `rewarden suggest` does not fit together, such as a place from which data cannot be read.",
    "G90": "What a reward is scored on, wrapped as or exported to does not fit it: a feature that no part of a step "
    "is, an option without a sense, or a package that is not installed.",
    "G91": "What fails in CI is named by one of three words: must, should or unknown.",
    "G92": "The file of waivers cannot be read, or is not TOML.",
    "G93": "A waiver names a fingerprint, an owner, a reason and a day on which it expires, and nothing else.",
    "G94": "A baseline is JSON that Rewarden has written with fingerprints of rules, or a certificate.",
    "G97": "An option about texts makes no sense, such as a view that is not NAME=VALUE.",
    "G98": "The language server was started without the package that speaks its protocol.",
}


def explanations() -> dict[str, str]:
    """Code → paragraph, over the whole tree."""
    from rewarden.editor import codes as editor
    from rewarden.reward import codes as reward
    from rewarden.spec_lang import codes as spec_lang
    from rewarden.verifier import codes as verifier

    found: dict[str, str] = {}
    for table in (spec_lang, reward, verifier, editor):
        found |= table.EXPLANATIONS
    return found | EXPLANATIONS
