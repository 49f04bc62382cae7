"""Mail with a tip, over one server of the operator's, with TLS or not at all. One that was cut off is not sent again: no mail server tells
whether it had it.
"""

from __future__ import annotations

import html
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

import aiosmtplib

from connectors.channels.channel import Notice, NotSent, Told, Unsure
from connectors.channels.texts import TEXTS
from oo.v1.device_pb2 import Device

TIMEOUT_S: Final = 20.0
SUBJECT_CHARS_MAX: Final = 120
_PORTS: Final = {"smtps": 465, "smtp": 587}


class Server(NamedTuple):
    """Where mail goes first."""

    host: str
    port: int
    username: str | None
    password: str | None
    tls_at_once: bool
    """Else it begins in the open and turns to TLS before anything is said."""


def server(url: str) -> Server:
    """Read smtps://USER:PASSWORD@HOST:PORT, or smtp:// for STARTTLS. Raises ValueError.

    >>> server("smtps://mail.example")
    Server(host='mail.example', port=465, username=None, password=None, tls_at_once=True)
    """
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(
            "a mail server is smtps://USER:PASSWORD@HOST:PORT, or smtp:// where it turns to TLS by STARTTLS"
        )
    name, word = (None if part is None else unquote(part) for part in (parts.username, parts.password))
    return Server(parts.hostname, parts.port or _PORTS[parts.scheme], name, word, parts.scheme == "smtps")


class Email:
    """One mail server."""

    def __init__(self, told: Told) -> None:
        self._server = server(told.smtp_url)
        self._from = told.mail_from
        self._tls = ssl.create_default_context(cafile=None if told.ca_file is None else str(told.ca_file))

    async def close(self) -> None:
        """Nothing stays open between two mails."""

    async def send(self, to: Device, notice: Notice) -> None:
        await self._post(written(notice, sender=self._from, to=to.email.address))

    async def ask(self, to: Device, url: str) -> None:
        await self._post(question(url, sender=self._from, to=to.email.address))

    async def _post(self, mail: EmailMessage) -> None:
        where = self._server
        client = aiosmtplib.SMTP(
            hostname=where.host,
            port=where.port,
            use_tls=where.tls_at_once,
            start_tls=not where.tls_at_once,
            tls_context=self._tls,
            timeout=TIMEOUT_S,
        )
        try:
            await client.connect()
            if where.username is not None:
                await client.login(where.username, where.password or "")
        except aiosmtplib.SMTPAuthenticationError:
            raise NotSent("mail-login") from None
        except (aiosmtplib.SMTPException, OSError, ValueError):
            client.close()
            raise NotSent("unreachable") from None
        try:
            await client.send_message(mail)
        except aiosmtplib.SMTPRecipientsRefused as refused:
            raise _refused(refused.recipients[0].code) from None
        except aiosmtplib.SMTPResponseException as refused:
            raise _refused(refused.code) from None
        except (aiosmtplib.SMTPException, OSError):
            raise Unsure from None
        finally:
            # A goodbye that nobody hears changes nothing.
            client.close()


def open_channel(told: Told) -> Email | None:
    """Open it; None without a server. Raises ValueError for one that is none."""
    return Email(told) if told.smtp_url else None


def written(notice: Notice, *, sender: str, to: str) -> EmailMessage:
    """The mail. Raises NotSent for an address that is none."""
    texts = TEXTS[notice.language]
    lines = [line for line in (notice.title, notice.detail) if line]
    if notice.why:
        lines.append(f"{texts['why']} {'; '.join(notice.why)}")
    mail = _begun(sender, to, notice.title)
    # The same each time: a reader that is given it twice shows it once.
    mail["Message-ID"] = f"<{notice.delivery_id}@{make_msgid(domain=_domain(sender)).rpartition('@')[2]}"
    mail["List-Unsubscribe"] = f"<{notice.unsubscribe_url}>"
    mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    mail["Content-Language"] = notice.language
    links = [(texts["open"], notice.url), (texts["unsubscribe"], notice.unsubscribe_url)]
    mail.set_content("\n\n".join([*lines, *(f"{text}: {url}" for text, url in links)]) + "\n")
    paragraphs = [f"<h1>{html.escape(lines[0])}</h1>"] if lines else []
    paragraphs += [f"<p>{html.escape(line)}</p>" for line in lines[1:]]
    paragraphs += [f'<p><a href="{html.escape(url)}">{html.escape(text)}</a></p>' for text, url in links]
    page = (
        f'<!doctype html><html lang="{notice.language}"><meta charset="utf-8"><body>{"".join(paragraphs)}</body></html>'
    )
    mail.add_alternative(page, subtype="html")
    return mail


def question(url: str, *, sender: str, to: str) -> EmailMessage:
    """The mail that asks whether an address is its reader's, in each language. Raises NotSent for one that is none."""
    mail = _begun(sender, to, " / ".join(one["confirm.subject"] for one in TEXTS.values()))
    mail.set_content("\n\n".join([*(one["confirm.text"] for one in TEXTS.values()), url]) + "\n")
    return mail


def _begun(sender: str, to: str, subject: str) -> EmailMessage:
    mail = EmailMessage()
    try:
        mail["From"], mail["To"] = sender, to
        # What a person wrote, or a source sent, may hold a line break: in a subject that would be a header.
        mail["Subject"] = " ".join(subject.split())[:SUBJECT_CHARS_MAX]
    except ValueError:
        raise NotSent("address", again_s=None) from None
    mail["Date"] = formatdate()
    mail["Auto-Submitted"] = "auto-generated"
    return mail


def _domain(sender: str) -> str:
    return sender.rpartition("@")[2].rstrip(">").strip() or "localhost"


def _refused(code: int) -> NotSent:
    # 4xx is for now, 5xx for good (RFC 5321).
    return NotSent("mail-later") if 400 <= code < 500 else NotSent("mail-refused", again_s=None)
