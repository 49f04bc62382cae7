"""A broker of its own that asks for TLS and a password: certificates and users are made when it starts."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deploy.stack.fetch import default_cache, fetch
from deploy.stack.kafka import Kafka, cluster_id, settings
from deploy.stack.state import LOOPBACK, free_port
from streams.access import check
from streams.cluster import Cluster
from streams.security import Security

USER = "oo-worker"


@dataclass(frozen=True, slots=True)
class SecureBroker:
    """Where it listens, and what a client needs."""

    bare: str
    """Without either, for a test's own hands."""
    ssl: str
    sasl_ssl: str
    folder: Path
    password: str = field(default_factory=lambda: secrets.token_urlsafe(18))

    @property
    def ca_file(self) -> str:
        return str(self.folder / "ca.pem")

    @property
    def scram(self) -> Security:
        return Security(protocol="SASL_SSL", username=USER, password=self.password, ca_file=self.ca_file)

    @property
    def plain(self) -> Security:
        return Security(
            protocol="SASL_SSL", mechanism="PLAIN", username=USER, password=self.password, ca_file=self.ca_file
        )

    @property
    def tls(self) -> Security:
        return Security(protocol="SSL", ca_file=self.ca_file)


@contextmanager
def secure_broker(folder: Path) -> Iterator[SecureBroker]:
    """Apache Kafka with a listener for TLS and one for TLS with SASL; ended with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    ports: list[int] = []
    for _ in range(4):
        ports.append(free_port(taken=ports))
    plain, controller, tls, sasl = ports
    broker = SecureBroker(f"{LOOPBACK}:{plain}", ssl=f"{LOOPBACK}:{tls}", sasl_ssl=f"{LOOPBACK}:{sasl}", folder=folder)
    authority = Authority()
    (folder / "ca.pem").write_bytes(authority.certificate())
    (folder / "server.pem").write_bytes(authority.server())
    (folder / "strangers.pem").write_bytes(Authority().certificate())

    cache = default_cache()
    if not cache.kafka.is_dir():
        fetch(cache, on_bytes=lambda *_: None)
    kafka = Kafka(cache, folder / "kafka", plain, controller)
    kafka.data.mkdir(parents=True)
    given = settings(port=plain, controller_port=controller, data=kafka.data)
    for listeners in ("listeners", "advertised.listeners"):
        given[listeners] += f",TLS://{broker.ssl},SASL://{broker.sasl_ssl}"
    given["listener.security.protocol.map"] += ",TLS:SSL,SASL:SASL_SSL"
    given |= {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(folder / "server.pem"),
        "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
        "listener.name.sasl.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
        "listener.name.sasl.plain.sasl.jaas.config": (
            f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{broker.password}";'
        ),
    }
    lines = "".join(f"{key}={value}\n" for key, value in given.items())
    kafka.config_file.write_text(lines)
    kafka._run(
        *("kafka.tools.StorageTool", "format", "--standalone", "-t", cluster_id(), "-c", str(kafka.config_file)),
        *("--add-scram", f"SCRAM-SHA-512=[name={USER},password={broker.password}]"),
    )
    command = kafka.prepare()  # writes the settings of a plain broker
    kafka.config_file.write_text(lines)
    with (folder / "broker.log").open("wb") as log:
        process = subprocess.Popen(command.argv, env=command.env, cwd=command.cwd, stdout=log, stderr=log)
    try:
        deadline_s = time.monotonic() + 60
        while not asyncio.run(kafka.ready()):
            assert process.poll() is None and time.monotonic() < deadline_s, (folder / "broker.log").read_text()
            time.sleep(0.1)
        asyncio.run(check(Cluster(broker.sasl_ssl, security=broker.scram), timeout_s=30))
        yield broker
    finally:
        process.kill()
        process.wait()


class Authority:
    """Signs one server's certificate; its own key never leaves memory."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "oO test authority")])
        self._certificate = self._sign(self._name, self._key.public_key(), ca=True)

    def certificate(self) -> bytes:
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
            .not_valid_after(now + datetime.timedelta(days=1))
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
