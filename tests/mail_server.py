"""A mail server with TLS on loopback (aiosmtpd), which keeps what comes and says what it is told to."""

from __future__ import annotations

import email
import email.policy
import ssl
from email.message import EmailMessage
from pathlib import Path
from typing import Self, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from deploy.stack.authority import Authority
from deploy.stack.state import free_port


class MailServer:
    """Nothing is said to it before STARTTLS. `says` is its answer to whom mail is for."""

    def __init__(self, folder: Path) -> None:
        authority = Authority()
        self.ca_file, server = folder / "mail-ca.pem", folder / "mail-server.pem"
        self.ca_file.write_bytes(authority.certificate())
        server.write_bytes(authority.server())
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(server)
        self._port = free_port()
        self._controller: Controller | None = None
        self.came: list[EmailMessage] = []
        self.says = "250 OK"

    @property
    def settings(self) -> dict[str, str]:
        """For notify."""
        return {"OO_SMTP_URL": f"smtp://localhost:{self._port}", "OO_MAIL_CA_FILE": str(self.ca_file)}

    def __enter__(self) -> Self:
        self.back()
        return self

    def __exit__(self, *_: object) -> None:
        self.go()

    def go(self) -> None:
        """Be gone: nothing listens there any more."""
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    def back(self) -> None:
        """Listen again, at the same place."""
        self._controller = Controller(
            self, hostname="127.0.0.1", port=self._port, tls_context=self._tls, require_starttls=True
        )
        self._controller.start()

    def to(self, address: str) -> list[EmailMessage]:
        return [one for one in self.came if one["To"] == address]

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.says.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.says

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert session.ssl is not None
        content = envelope.content
        assert isinstance(content, bytes)
        self.came.append(cast("EmailMessage", email.message_from_bytes(content, policy=email.policy.default)))
        return "250 OK"
