"""Certificates of a local cluster: one authority, leaves with proper names, kubeconfigs. Nothing skips verification."""

import base64
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFE = timedelta(days=3650)


@dataclass(frozen=True)
class Leaf:
    """Paths of a certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority in a directory; made once, then loaded."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.certificate = directory / "ca.crt"
        self.key = directory / "ca.key"
        if not self.certificate.exists():
            self._create()
        self._cert = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        key = serialization.load_pem_private_key(self.key.read_bytes(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key

    def _create(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("stationkeeper-local-ca", ())
        cert = (
            _builder(name, name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(ca=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        _write_key(self.key, key)
        self.certificate.write_bytes(cert.public_bytes(serialization.Encoding.PEM))

    def leaf(self, file: str, common_name: str, organizations: Sequence[str] = (), hosts: Sequence[str] = ()) -> Leaf:
        """A certificate for client and server use, signed by the authority; made once per file name."""
        leaf = Leaf(self.directory / f"{file}.crt", self.directory / f"{file}.key")
        if leaf.certificate.exists():
            return leaf
        key = ec.generate_private_key(ec.SECP256R1())
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        builder = (
            _builder(_name(common_name, organizations), self._cert.subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName([_san(host) for host in hosts]), critical=False)
        _write_key(leaf.key, key)
        leaf.certificate.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return leaf

    def service_account_key(self) -> Path:
        """The key that signs service account tokens."""
        path = self.directory / "service-accounts.key"
        if not path.exists():
            _write_key(path, ec.generate_private_key(ec.SECP256R1()))
        return path

    def kubeconfig(self, path: Path, server: str, user: str, organizations: Sequence[str] = ()) -> Path:
        """Write a kubeconfig, all certificates inside, for one user."""
        leaf = self.leaf(f"client-{path.stem}", user, organizations)
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "stationkeeper", "cluster": {"server": server, "certificate-authority-data": _base64(self.certificate)}}
            ],
            "users": [
                {
                    "name": user,
                    "user": {"client-certificate-data": _base64(leaf.certificate), "client-key-data": _base64(leaf.key)},
                }
            ],
            "contexts": [{"name": "stationkeeper", "context": {"cluster": "stationkeeper", "user": user}}],
            "current-context": "stationkeeper",
        }
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        return path


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _name(common_name: str, organizations: Sequence[str]) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization) for organization in organizations]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _san(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + _LIFE)
    )


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not ca,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
