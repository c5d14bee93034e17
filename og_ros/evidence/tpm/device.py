"""A robot's TPM, over tpm2-pytss (extra `tpm`): the few commands that og_ros needs, with bytes in and out.

Nothing stays in the TPM: keys are made anew from its seed or loaded for one use, and every handle is flushed, for a TPM
without a resource manager has room for three.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final

from og_ros.errors import EvidenceError
from og_ros.evidence.tpm import templates
from og_ros.evidence.tpm.public_area import ecdsa_values
from og_ros.evidence.tpm.quote import ALG_SHA256
from og_ros.evidence.tpm.templates import KeyType

DEFAULT_TCTI: Final = "device:/dev/tpmrm0"
"""The kernel's resource manager. For swtpm: swtpm:path=SOCKET or swtpm:host=H,port=P."""

# In the order in which they are looked for: RSA-2048 and P-256, low and high range, and the P-384 key of swtpm.
ENDORSEMENT_KEYS: Final = ("EK-RSA2048", "EK-ECC256", "EK-HIGH-RSA2048", "EK-HIGH-ECC256", "EK-HIGH-ECC384")


class Tpm:
    """An open connection; a context manager, for one thread at a time.

    Raises EvidenceError where tpm2-pytss is not installed, the TPM cannot be reached, or it refuses a command.
    """

    def __init__(self, tcti: str = DEFAULT_TCTI) -> None:
        # TSS writes what goes wrong to stderr as well; it is raised here, and said once.
        os.environ.setdefault("TSS2_LOG", "all+NONE")
        try:
            import tpm2_pytss as tss
        except ImportError as error:
            raise EvidenceError(
                "a TPM needs tpm2-pytss: apt-get install libtss2-dev gcc, then pip install og_ros[tpm]"
            ) from error
        self._tss: Any = tss
        try:
            self._esys: Any = tss.ESAPI(tcti)
        except Exception as error:  # TSS2_Exception, or ValueError for a name of no TCTI
            raise EvidenceError(f"cannot reach the TPM at {tcti}: {error}") from error

    def __enter__(self) -> Tpm:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._esys.close()

    def read_pcrs(self, pcrs: Iterable[int]) -> dict[int, bytes]:
        """Return the values of PCRs (SHA-256 bank); a TPM answers at most eight at a time."""
        found: dict[int, bytes] = {}
        wanted = sorted(set(pcrs))
        with self._asked("PCR_Read"):
            for at in range(0, len(wanted), 8):
                part = wanted[at : at + 8]
                _, _, digests = self._esys.pcr_read(self._selection(part))
                values = [bytes(digest) for digest in digests]
                if len(values) != len(part) or any(len(value) != 32 for value in values):
                    raise EvidenceError("the TPM has no SHA-256 bank of PCRs, or not all of those that were asked for")
                found.update(zip(part, values, strict=True))
        return found

    def extend(self, pcr: int, digest: bytes) -> None:
        """Extend a PCR of the SHA-256 bank."""
        tss = self._tss
        values = tss.TPML_DIGEST_VALUES([tss.TPMT_HA(hashAlg=ALG_SHA256, digest=tss.TPMU_HA(sha256=digest))])
        with self._asked(f"PCR_Extend of PCR {pcr}"):
            self._esys.pcr_extend(self._tss.ESYS_TR(pcr), values)

    def quote(self, pcrs: Sequence[int], qualifying: bytes, kind: KeyType = "ecc") -> tuple[bytes, bytes, bytes]:
        """Return TPMS_ATTEST, TPMT_SIGNATURE and the attestation key's TPMT_PUBLIC."""
        with self._attestation_key(kind) as (handle, public), self._asked("Quote"):
            quoted, signature = self._esys.quote(handle, self._selection(pcrs), qualifying)
            return bytes(quoted), signature.marshal(), public

    def attestation_key(self, kind: KeyType = "ecc") -> bytes:
        """Return the attestation key's TPMT_PUBLIC; the same one until the endorsement seed changes."""
        with self._attestation_key(kind) as (_, public):
            return public

    def endorsement_certificate(self, name: str = "") -> tuple[str, bytes]:
        """Return the template of an endorsement key, by default the first, and its certificate (DER) from the TPM."""
        from og_ros.evidence.tpm.ek_certificate import trimmed

        utils = self._utils()
        for template in [name] if name else ENDORSEMENT_KEYS:
            with self._asked("NV_Read of the endorsement certificate"):
                try:
                    certificate, _ = utils.create_ek_template(template, utils.NVReadEK(self._esys))
                except ValueError:
                    continue
            if certificate:
                return template, trimmed(bytes(certificate))
        raise EvidenceError("the TPM holds no endorsement certificate; ask its maker for it")

    def activate(self, template: str, id_object: bytes, secret: bytes, kind: KeyType = "ecc") -> bytes:
        """Return the secret of a credential that was made for this TPM's endorsement and attestation keys."""
        tss, utils = self._tss, self._utils()
        with self._asked("ActivateCredential"):
            _, public = utils.create_ek_template(template, utils.NVReadEK(self._esys))
            with self._attestation_key(kind) as (key, _), self._primary(tss.ESYS_TR.ENDORSEMENT, public) as endorsement:
                low = not int(public.publicArea.objectAttributes) & int(tss.TPMA_OBJECT.USERWITHAUTH)
                with self._policy() if low else _password(tss) as session:
                    if low:
                        self._esys.policy_secret(tss.ESYS_TR.ENDORSEMENT, session, expiration=0)
                    return bytes(
                        self._esys.activate_credential(
                            key,
                            endorsement,
                            tss.TPM2B_ID_OBJECT(id_object),
                            tss.TPM2B_ENCRYPTED_SECRET(secret),
                            session1=tss.ESYS_TR.PASSWORD,
                            session2=session,
                        )
                    )

    def create(self, template: bytes, secret: bytes = b"") -> tuple[bytes, bytes]:
        """Make an object below the storage key; returns its TPMT_PUBLIC and its wrapped private part, to be kept."""
        tss = self._tss
        sensitive = tss.TPM2B_SENSITIVE_CREATE(
            tss.TPMS_SENSITIVE_CREATE(data=tss.TPM2B_SENSITIVE_DATA(secret)) if secret else tss.TPMS_SENSITIVE_CREATE()
        )
        with self._storage_key() as parent, self._asked("Create"):
            private, public, *_ = self._esys.create(parent, sensitive, self._public(template))
            return public.publicArea.marshal(), bytes(private)

    def unseal(self, public: bytes, private: bytes, pcrs: Sequence[int]) -> bytes:
        """Return sealed data, if the PCRs are as its policy says; it crosses the bus encrypted."""
        tss = self._tss
        with (
            self._storage_key() as parent,
            self._loaded(parent, public, private) as handle,
            self._policy(parent) as session,
            self._asked("Unseal"),
        ):
            self._esys.trsess_set_attributes(session, tss.TPMA_SESSION.ENCRYPT | tss.TPMA_SESSION.CONTINUESESSION)
            self._esys.policy_pcr(session, b"", self._selection(pcrs))
            return bytes(self._esys.unseal(handle, session1=session))

    @contextmanager
    def signing(
        self, public: bytes, private: bytes, pcrs: Sequence[int] = ()
    ) -> Iterator[Callable[[bytes], tuple[int, int]]]:
        """Load a key of `create`, and give what signs a SHA-256 with it: (r, s); `pcrs` are those of its policy."""
        tss = self._tss
        ticket = tss.TPMT_TK_HASHCHECK(tag=tss.TPM2_ST.HASHCHECK, hierarchy=tss.TPM2_RH.NULL)
        scheme = tss.TPMT_SIG_SCHEME(scheme=tss.TPM2_ALG.NULL)

        def sign(digest: bytes) -> tuple[int, int]:
            with self._policy() if pcrs else _password(tss) as session, self._asked("Sign"):
                if pcrs:
                    self._esys.policy_pcr(session, b"", self._selection(pcrs))
                made = self._esys.sign(handle, digest, scheme, ticket, session1=session).marshal()
                return ecdsa_values(made)

        with self._storage_key() as parent, self._asked("Load"):
            handle = self._esys.load(parent, tss.TPM2B_PRIVATE(private), self._public(public))
        with self._flushed(handle):
            yield sign

    @contextmanager
    def _attestation_key(self, kind: KeyType) -> Iterator[tuple[Any, bytes]]:
        template = self._public(templates.attestation_key(kind))
        with self._primary(self._tss.ESYS_TR.ENDORSEMENT, template) as handle:
            public, _, _ = self._esys.read_public(handle)
            yield handle, public.publicArea.marshal()

    @contextmanager
    def _storage_key(self) -> Iterator[Any]:
        with self._primary(self._tss.ESYS_TR.OWNER, self._public(templates.storage_key())) as handle:
            yield handle

    @contextmanager
    def _primary(self, hierarchy: Any, template: Any) -> Iterator[Any]:
        with self._asked("CreatePrimary"):
            handle = self._esys.create_primary(None, template, primary_handle=hierarchy)[0]
        with self._flushed(handle):
            yield handle

    @contextmanager
    def _loaded(self, parent: Any, public: bytes, private: bytes) -> Iterator[Any]:
        with self._asked("Load"):
            handle = self._esys.load(parent, self._tss.TPM2B_PRIVATE(private), self._public(public))
        with self._flushed(handle):
            yield handle

    @contextmanager
    def _policy(self, salted_by: Any = None) -> Iterator[Any]:
        tss = self._tss
        salt = tss.ESYS_TR.NONE if salted_by is None else salted_by
        cipher = "aes128cfb" if salted_by is not None else None
        with self._asked("StartAuthSession"):
            session = self._esys.start_auth_session(
                salt, tss.ESYS_TR.NONE, tss.TPM2_SE.POLICY, cipher, tss.TPM2_ALG.SHA256
            )
        with self._flushed(session):
            yield session

    @contextmanager
    def _flushed(self, handle: Any) -> Iterator[None]:
        try:
            yield
        finally:
            with self._asked("FlushContext"):
                self._esys.flush_context(handle)

    @contextmanager
    def _asked(self, command: str) -> Iterator[None]:
        try:
            yield
        except self._tss.TSS2_Exception as error:
            raise EvidenceError(f"the TPM refused {command}: {error}") from error

    def _public(self, template: bytes) -> Any:
        return self._tss.TPM2B_PUBLIC(publicArea=self._tss.TPMT_PUBLIC.unmarshal(template)[0])

    def _selection(self, pcrs: Iterable[int]) -> Any:
        return self._tss.TPML_PCR_SELECTION.unmarshal(templates.pcr_selection(pcrs))[0]

    def _utils(self) -> Any:
        from tpm2_pytss import utils

        return utils


@contextmanager
def _password(tss: Any) -> Iterator[Any]:
    """Give the session of an empty password, which needs no flushing."""
    yield tss.ESYS_TR.PASSWORD
