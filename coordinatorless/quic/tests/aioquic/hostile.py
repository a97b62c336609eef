"""A QUIC client that is not ours, throwing garbage at every kind of stream and frame of one peer.

hostile.py PORT: prints one line an attack, and ends with `done`. What the peer makes of it, the Rust test beside it checks.
"""

import asyncio
import datetime
import os
import random
import ssl
import sys

from aioquic.asyncio.client import connect
from aioquic.quic.configuration import QuicConfiguration
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

ALPN = "murmur/8"
RANDOM = random.Random(1)


def noise(count):
    return bytes(RANDOM.getrandbits(8) for _ in range(count))


def certificate(key, algorithm):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stranger")])
    now = datetime.datetime(2020, 1, 1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=36500))
    return builder.sign(key, algorithm)


def configuration(alpn=ALPN, with_key=True, key=None, algorithm=None):
    made = QuicConfiguration(is_client=True, alpn_protocols=[alpn], max_datagram_frame_size=65536)
    made.verify_mode = ssl.CERT_NONE
    made.idle_timeout = 5.0
    if with_key:
        key = key or ed25519.Ed25519PrivateKey.from_private_bytes(noise(32))
        made.certificate, made.private_key = certificate(key, algorithm), key
    return made


async def attack(name, port, act, **how):
    try:
        async with asyncio.timeout(5):
            async with connect("127.0.0.1", port, configuration=configuration(**how)) as client:
                await client.wait_connected()
                await act(client)
                client.transmit()
                await client.ping()
        print(name, "carried out", flush=True)
    except (ConnectionError, TimeoutError, asyncio.TimeoutError) as error:
        print(name, "ended by", type(error).__name__, flush=True)


async def garbage_on_unidirectional(client):
    for count in (0, 1, 3, 100, 5000, 70000):
        stream = client._quic.get_next_available_stream_id(is_unidirectional=True)
        client._quic.send_stream_data(stream, noise(count), end_stream=True)
        client.transmit()
        await asyncio.sleep(0.02)


async def garbage_on_bidirectional(client):
    # The peer allows none, so a client that opens one anyway breaks QUIC itself.
    client._quic._remote_max_streams_bidi = 10
    for _ in range(3):
        client._quic.send_stream_data(client._quic.get_next_available_stream_id(), noise(50), end_stream=True)


async def unfinished_streams(client):
    for _ in range(60):
        stream = client._quic.get_next_available_stream_id(is_unidirectional=True)
        client._quic.send_stream_data(stream, noise(9), end_stream=False)


async def reset_streams(client):
    for _ in range(30):
        stream = client._quic.get_next_available_stream_id(is_unidirectional=True)
        client._quic.send_stream_data(stream, noise(9), end_stream=False)
        client.transmit()
        client._quic.reset_stream(stream, RANDOM.getrandbits(30))


async def more_streams_than_allowed(client):
    client._quic._remote_max_streams_uni = 10_000
    for _ in range(500):
        stream = client._quic.get_next_available_stream_id(is_unidirectional=True)
        client._quic.send_stream_data(stream, b"x", end_stream=True)


async def a_message_too_long(client):
    stream = client._quic.get_next_available_stream_id(is_unidirectional=True)
    client._quic.send_stream_data(stream, bytes(5 * 1024 * 1024), end_stream=True)
    for _ in range(100):
        client.transmit()
        await asyncio.sleep(0.02)


async def garbage_datagrams(client):
    for count in (0, 1, 2, 35, 36, 37, 500, 1100):
        for first in (0, 1, 2, 3, 255):
            client._quic.send_datagram_frame((bytes([first]) + noise(count))[:1150])
        client.transmit()
        await asyncio.sleep(0.01)


async def idle(client):
    await asyncio.sleep(0.1)


async def main(port):
    await attack("unidirectional", port, garbage_on_unidirectional)
    await attack("bidirectional", port, garbage_on_bidirectional)
    await attack("unfinished", port, unfinished_streams)
    await attack("reset", port, reset_streams)
    await attack("too-many", port, more_streams_than_allowed)
    await attack("too-long", port, a_message_too_long)
    await attack("datagrams", port, garbage_datagrams)
    await attack("other-version", port, idle, alpn="h3")
    await attack("no-certificate", port, idle, with_key=False)
    other = ec.generate_private_key(ec.SECP256R1())
    from cryptography.hazmat.primitives import hashes

    await attack("other-key-type", port, idle, key=other, algorithm=hashes.SHA256())
    print("done", flush=True)
    os._exit(0)


asyncio.run(main(int(sys.argv[1])))
