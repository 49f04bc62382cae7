"""A certificate authority of one state folder, and the certificate of its servers.

The authority's own key is never written: it signs one certificate and is forgotten. Whoever wants another makes both anew.
"""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deploy.stack.state import LOOPBACK, write_private

VALID = datetime.timedelta(days=730)
RENEWED = datetime.timedelta(days=30)
"""Before it runs out a start makes both anew."""


def ensure(ca_file: Path, server_file: Path) -> None:
    """Makes both files where one is missing or runs out soon: the authority, and the server's key with its certificate."""
    if ca_file.exists() and server_file.exists():
        until = x509.load_pem_x509_certificate(ca_file.read_bytes()).not_valid_after_utc
        if until - datetime.datetime.now(datetime.UTC) > RENEWED:
            return
    authority = Authority()
    # In this order: one that was made and not written is made again with the next.
    write_private(server_file, authority.server())
    write_private(ca_file, authority.certificate())


class Authority:
    """Signs one server's certificate; its own key never leaves memory."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "oO local authority")])
        self._certificate = self._sign(self._name, self._key.public_key(), ca=True)

    def certificate(self) -> bytes:
        """What clients trust, in PEM."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def server(self) -> bytes:
        """A key and its certificate for loopback, as Kafka reads them from one file."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kafka")])
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        certificate = self._sign(name, key.public_key(), ca=False)
        return private + certificate.public_bytes(serialization.Encoding.PEM) + self.certificate()

    def _sign(self, name: x509.Name, key: ec.EllipticCurvePublicKey, *, ca: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=ca,
            crl_sign=ca,
            **dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False),
            encipher_only=False,
            decipher_only=False,
        )
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + VALID)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(
                x509.SubjectAlternativeName(
                    [x509.IPAddress(ipaddress.ip_address(LOOPBACK)), x509.DNSName("localhost")]
                ),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
