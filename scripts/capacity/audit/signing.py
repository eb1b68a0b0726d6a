"""Signatures of a release by an SSH key, made and checked by OpenSSH, without network.

What is signed is release.json, which holds the digest of every other file.
"""

import shutil
import subprocess
from pathlib import Path

from capacity.errors import UserError

NAMESPACE = "knowledge-capacity"
SUFFIX = ".sig"


def _ssh_keygen(*words: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    program = shutil.which("ssh-keygen")
    if program is None:
        raise UserError("ssh-keygen is not installed; signatures need OpenSSH 8.1 or newer")
    return subprocess.run([program, "-Y", *words], input=data, capture_output=True, timeout=60)


def sign(path: Path, key: Path) -> None:
    """Write a signature beside a file. key: a private key, or a public one whose private half an agent holds.

    Raises UserError where there is no key or ssh-keygen cannot sign with it.
    """
    if not key.is_file():
        raise UserError(f"KEY={key}: no such file; `ssh-keygen -t ed25519 -f {key}` makes a key")
    answer = _ssh_keygen("sign", "-q", "-f", str(key), "-n", NAMESPACE, str(path))
    if answer.returncode or not path.with_name(path.name + SUFFIX).is_file():
        last = (answer.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise UserError(f"KEY={key}: ssh-keygen could not sign ({last})")


def signer(path: Path, allowed: Path | None) -> str:
    """Who signed a file, by its signature beside it.

    allowed: an allowed-signers file; without one the key's fingerprint is all that is known. Raises ValueError where
    the signature does not fit the file or is by nobody on the list.
    """
    signature, data = path.with_name(path.name + SUFFIX), path.read_bytes()
    if allowed is None:
        answer = _ssh_keygen("check-novalidate", "-n", NAMESPACE, "-s", str(signature), data=data)
        if answer.returncode:
            raise ValueError("the signature does not fit")
        return answer.stdout.decode(errors="replace").strip().rpartition("key ")[2] or "an unnamed key"
    if not allowed.is_file():
        raise UserError(f"SIGNERS={allowed}: no such file; a line is `name ssh-ed25519 AAAA...`")
    found = _ssh_keygen("find-principals", "-s", str(signature), "-f", str(allowed))
    names = found.stdout.decode(errors="replace").split()
    if found.returncode or not names:
        raise ValueError("it is signed by no key on the list")
    words = ("verify", "-n", NAMESPACE, "-s", str(signature), "-f", str(allowed), "-I", names[0])
    if _ssh_keygen(*words, data=data).returncode:
        raise ValueError("the signature does not fit")
    return names[0]
