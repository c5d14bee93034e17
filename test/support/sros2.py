"""SROS2 without SROS2: reads its policy files and makes from them the keystore that rcl and DDS read.

Names are translated as the ROS 2 design says (articles ros2_dds_security and topic_and_service_names); the files are
those of DDS Security 1.1: governance and permissions as S/MIME signed by their authority, an identity for each
enclave.
"""

from __future__ import annotations

import datetime
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID

# Children that sros2's policy.xsd allows in each element, and its attributes (required ones first).
CHILDREN = {
    "policy": {"contexts"},
    "contexts": {"context"},
    "context": {"profiles"},
    "profiles": {"profile", "metadata"},
    "profile": {"topics", "services", "actions"},
    "topics": {"topic"},
    "services": {"service"},
    "actions": {"action"},
}
REQUIRED = {"policy": {"version"}, "context": {"path"}, "profile": {"ns", "node"}}
RULES = {"topics": {"publish", "subscribe"}, "services": {"reply", "request"}, "actions": {"call", "execute"}}
# How nodes find each other's names; every participant needs it.
DISCOVERY = "ros_discovery_info"


@dataclass
class Allowed:
    """What one enclave may do, in ROS names."""

    node: str
    publish: set[str] = field(default_factory=set)
    subscribe: set[str] = field(default_factory=set)
    reply: set[str] = field(default_factory=set)
    request: set[str] = field(default_factory=set)

    def dds(self) -> tuple[set[str], set[str]]:
        """The DDS topics that it may write, and those that it may read."""
        write = {f"rt{t}" for t in self.publish} | {f"rr{s}Reply" for s in self.reply}
        write |= {f"rq{s}Request" for s in self.request} | {DISCOVERY}
        read = {f"rt{t}" for t in self.subscribe} | {f"rq{s}Request" for s in self.reply}
        read |= {f"rr{s}Reply" for s in self.request} | {DISCOVERY}
        return write, read


def check_structure(element: ElementTree.Element) -> None:
    """Assert that an element and all below it are as sros2's policy.xsd has them."""
    tag = element.tag
    if tag not in CHILDREN:
        assert not element.attrib, tag
        assert (element.text or "").strip(), f"{tag} is empty"
        return
    assert {child.tag for child in element} <= CHILDREN[tag], (tag, [child.tag for child in element])
    assert len(element) >= (0 if tag == "profile" else 1), f"{tag} is empty"
    assert REQUIRED.get(tag, set()) <= set(element.attrib), (tag, element.attrib)
    assert set(element.attrib) <= REQUIRED.get(tag, set()) | RULES.get(tag, set()), (tag, element.attrib)
    if tag in RULES:
        assert element.attrib, f"{tag} has no rule"
        assert set(element.attrib.values()) <= {"ALLOW", "DENY"}, (tag, element.attrib)
    for child in element:
        check_structure(child)


def read_policy(path: Path) -> dict[str, Allowed]:
    """What a policy file allows, by the path of the enclave. Knows ALLOW and literal names only."""
    root = ElementTree.parse(path).getroot()
    check_structure(root)
    found = {}
    for context in root.iter("context"):
        for profile in context.iter("profile"):
            allowed = found.setdefault(context.attrib["path"], Allowed(profile.attrib["node"]))
            for rules in profile:
                for what, rule in rules.attrib.items():
                    assert rule == "ALLOW", f"{path}: {rule}"
                    getattr(allowed, what).update(_name(item.text or "", profile.attrib) for item in rules)
    return found


def _name(name: str, profile: dict[str, str]) -> str:
    namespace = profile["ns"].rstrip("/")
    if name.startswith("~"):
        return f"{namespace}/{profile['node']}{name[1:]}"
    return name if name.startswith("/") else f"{namespace}/{name}"


class Keystore:
    """A keystore for one domain, with one authority for identities and permissions."""

    def __init__(self, folder: Path, domain: int) -> None:
        self.folder, self.domain = folder, domain
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._sign("test authority", self._key, authority=True)

    def add(self, enclave: str, allowed: Allowed) -> None:
        """Make an enclave."""
        folder = self.folder / "enclaves" / enclave.lstrip("/")
        folder.mkdir(parents=True)
        key = ec.generate_private_key(ec.SECP256R1())
        pem = serialization.Encoding.PEM
        for name in ("identity_ca.cert.pem", "permissions_ca.cert.pem"):
            (folder / name).write_bytes(self._certificate.public_bytes(pem))
        (folder / "cert.pem").write_bytes(self._sign(enclave, key).public_bytes(pem))
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (folder / "key.pem").write_bytes(private)
        (folder / "governance.p7s").write_bytes(self._smime(_GOVERNANCE.format(domain=self.domain)))
        write, read = allowed.dds()
        text = _PERMISSIONS.format(enclave=enclave, domain=self.domain, write=_topics(write), read=_topics(read))
        (folder / "permissions.p7s").write_bytes(self._smime(text))

    def environment(self, enclave: str) -> dict[str, str]:
        """What makes a ROS process a member of an enclave."""
        return {
            "ROS_SECURITY_ENABLE": "true",
            "ROS_SECURITY_STRATEGY": "Enforce",
            "ROS_SECURITY_KEYSTORE": str(self.folder),
            "ROS_SECURITY_ENCLAVE_OVERRIDE": enclave,
        }

    def _sign(self, name: str, key: ec.EllipticCurvePrivateKey, authority: bool = False) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = subject if authority else self._certificate.subject
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(authority, 1 if authority else None), critical=True)
        return builder.sign(self._key, hashes.SHA256())

    def _smime(self, text: str) -> bytes:
        builder = pkcs7.PKCS7SignatureBuilder(text.encode(), [(self._certificate, self._key, hashes.SHA256(), None)])
        options = [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Text]
        return builder.sign(serialization.Encoding.SMIME, options)


def _topics(names: set[str]) -> str:
    return "".join(f"<topic>{name}</topic>" for name in sorted(names))


# Everything is encrypted and controlled, as sros2 does by default.
_GOVERNANCE = """\
<?xml version="1.0" encoding="UTF-8"?>
<dds xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
    xsi:noNamespaceSchemaLocation="http://www.omg.org/spec/DDS-SECURITY/20170901/omg_shared_ca_governance.xsd">
  <domain_access_rules>
    <domain_rule>
      <domains><id>{domain}</id></domains>
      <allow_unauthenticated_participants>false</allow_unauthenticated_participants>
      <enable_join_access_control>true</enable_join_access_control>
      <discovery_protection_kind>ENCRYPT</discovery_protection_kind>
      <liveliness_protection_kind>ENCRYPT</liveliness_protection_kind>
      <rtps_protection_kind>SIGN</rtps_protection_kind>
      <topic_access_rules>
        <topic_rule>
          <topic_expression>*</topic_expression>
          <enable_discovery_protection>true</enable_discovery_protection>
          <enable_liveliness_protection>true</enable_liveliness_protection>
          <enable_read_access_control>true</enable_read_access_control>
          <enable_write_access_control>true</enable_write_access_control>
          <metadata_protection_kind>ENCRYPT</metadata_protection_kind>
          <data_protection_kind>ENCRYPT</data_protection_kind>
        </topic_rule>
      </topic_access_rules>
    </domain_rule>
  </domain_access_rules>
</dds>
"""
_PERMISSIONS = """\
<?xml version="1.0" encoding="UTF-8"?>
<dds xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
    xsi:noNamespaceSchemaLocation="http://www.omg.org/spec/DDS-SECURITY/20170901/omg_shared_ca_permissions.xsd">
  <permissions>
    <grant name="{enclave}">
      <subject_name>CN={enclave}</subject_name>
      <validity><not_before>2020-01-01T00:00:00</not_before><not_after>2100-01-01T00:00:00</not_after></validity>
      <allow_rule>
        <domains><id>{domain}</id></domains>
        <publish><topics>{write}</topics></publish>
        <subscribe><topics>{read}</topics></subscribe>
      </allow_rule>
      <default>DENY</default>
    </grant>
  </permissions>
</dds>
"""
