"""Certificates are those of the name that was asked for, although an address is dialled."""

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tandem.egress import EgressRules, GuardedClient
from tandem.egress.judgement import Origin
from tandem.settings import EgressSettings


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and self-signed certificate of ``named.example``, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "named.example")]), datetime.now(UTC)
    names = [x509.DNSName("named.example"), x509.IPAddress(ipaddress.ip_address("127.0.0.2"))]
    built = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
    signed = built.add_extension(x509.SubjectAlternativeName(names), critical=False).sign(key, hashes.SHA256())
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(secret + signed.public_bytes(serialization.Encoding.PEM))
    return path


@asynccontextmanager
async def tls_server(certificate: Path, host: str = "127.0.0.1") -> AsyncGenerator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, host, 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def on_loopback(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


def client(trusted: Path | None) -> GuardedClient:
    context = ssl.create_default_context(cafile=trusted) if trusted else None
    return GuardedClient(EgressSettings(timeout_s=5), resolver=on_loopback, ssl_context=context)


def rules(host: str, port: int) -> EgressRules:
    return EgressRules(operated=frozenset({Origin("https", host, port)}))


@pytest.mark.parametrize("host", ["named.example", "NAMED.example."])
async def test_a_trusted_certificate_of_the_name_is_accepted(host: str, certificate: Path) -> None:
    async with tls_server(certificate) as port:
        response = await client(certificate).fetch(f"https://{host}:{port}/", rules=rules("named.example", port))
        async with client(certificate).http_client(rules=rules("named.example", port)) as http:
            answer = await http.get(f"https://named.example:{port}/")
    assert (response.body, answer.text) == (b"ok", "ok")


@pytest.mark.parametrize(("host", "is_trusted"), [("other.example", True), ("127.0.0.1", True), ("named.example", False)])
async def test_a_certificate_of_another_name_or_of_a_stranger_is_refused(host: str, is_trusted: bool, certificate: Path) -> None:
    guarded = client(certificate if is_trusted else None)
    async with tls_server(certificate) as port:
        with pytest.raises(ConnectionError):
            await guarded.fetch(f"https://{host}:{port}/", rules=rules(host, port))
        async with guarded.http_client(rules=rules(host, port)) as http:
            with pytest.raises(httpx.ConnectError):
                await http.get(f"https://{host}:{port}/")
