"""The README.txt of a pack: what it is, and how to check it with and without og_ros, for a reader years from now."""

from __future__ import annotations

from typing import Any, Final

_TEXT: Final = """\
EVIDENCE PACK {name}
Written {created} by og_ros {version}. Pack format {format}.

This is the record of a robot's run: the recorded messages, a signed attestation of every inference of its neural
networks, the registry of certified models and keys, the log of the attestations, and the report of an audit.
Everything that is needed to check the report is inside. Trust nothing here because it is written here: check it.

With og_ros (free software, PyPI package og_ros):

    og-ros verify PACK --root sha256:...

where the fingerprint of the registry's root comes from the robot's owner by another way than this pack. It checks every
file and signature, audits the recording again from its own bytes, and compares the result with the report.

Without og_ros: unpack it with any ZIP program, then

    sha256sum -c SHA256SUMS                 every file is the one that the packer listed

and go on as the guide "Verify a pack without og_ros" of og_ros's documentation shows: openssl, a COSE library and a
tool for transparency logs. In short:

{signature}
  registry/      DSSE envelopes. The SHA-256 of the newest root's payload is the fingerprint to compare. The root names
                 authorities and their keys; they sign index.dsse.json, which lists every file with its SHA-256, and the
                 certificates of models and keys.
  attestations/attestations.cbor
                 COSE_Sign1 objects (RFC 9052), one after the other (RFC 8742), of ES256 or EdDSA. index.jsonl says
                 where each begins, and of which stage and sequence it is. Key id: SHA-256 of the public key (DER,
                 SubjectPublicKeyInfo). The payload is CBOR with readable names. An attestation's digest is the SHA-256
                 of the whole object; "previous" in the next one of its session is that digest.
  recording/     A rosbag2. The digest of a message in an attestation covers its CDR bytes: the 4 bytes of
                 encapsulation with the last two taken as zero, then the body, zero-padded to a multiple of 4.
  log/           A Merkle log (RFC 6962, SHA-256): tlog-tiles, a checkpoint (C2SP signed note, Ed25519), the log's
                 verifier key in vkey.txt, and the log's own database. attestations/proofs.jsonl has a C2SP tlog-proof
                 of each attestation.
  report.json    What the audit said. verdict: holds, violated or not_checked. not_checked: what it could not tell.
  policy.yaml    What was demanded of the run, where anything was; policy/ has the files that it names.
  receipts/      Receipts of settlement. {receipts}

What it cannot show: that whoever holds a key told the truth, that the log shows the same to everybody, or that nothing
was left out before it was signed.

{contents}

Formats:
{formats}
"""


def readme(description: dict[str, Any]) -> str:
    """Return the text for a pack with a description (pack.json)."""
    contents = description["contents"]
    lines = [
        f"Recording {description['recording']['name']}, {description['recording']['data']}. "
        f"Report: {description['report']['verdict']}.",
        f"{contents['attestations']} attestations, {contents['proofs']} proofs of inclusion, "
        f"{contents['unreadable']} records that are no attestations.",
        "Software: " + ", ".join(f"{name} {version}" for name, version in description["software"].items()) + ".",
    ]
    signed = (
        "  SHA256SUMS.dsse.json\n"
        "                 DSSE envelope: the packer's signature over SHA256SUMS. signer.pub is the packer's own word\n"
        "                 for the key: compare it with one that you have from elsewhere."
    )
    return _TEXT.format(
        name=description["recording"]["name"],
        created=description["created_at"],
        version=description["software"]["og_ros"],
        format=description["version"],
        signature=signed if description["signer"] else "  (Nobody signed the list of files.)",
        receipts="None are in this pack.",
        contents="\n".join(lines),
        formats="\n".join(f"  {name}: {what}" for name, what in description["formats"].items()),
    )
