"""The one call that a client agent makes before it has a certificate: byte 07, TLS, and no other byte."""

import asyncio
import itertools
import ssl
from typing import Any

from model.codec import Wire, WireError
from model.errors import RpcError
from model.methods import METHODS
from rpc.dialing import Dialer
from rpc.messages import OutOfData, ValueReader, decode_reply, encode_request
from rpc.streams import send

MAX_ANSWER = 4 << 20
_sequence = itertools.count(1)


async def call_insecure(
    dialer: Dialer, address: str, context: ssl.SSLContext, method: str, args: Wire, seconds: float
) -> Any:
    """Call a method of the server at `host:port` without showing a certificate.

    Raises RpcError when it refuses, ConnectionError when it cannot be reached, is not trusted or says rubbish.
    """
    reader, writer = await dialer.dial_insecure(address, context, seconds)
    values = ValueReader(MAX_ANSWER)
    try:
        async with asyncio.timeout(seconds):
            send(writer, encode_request(next(_sequence), method, args))
            header, body = await _value(reader, values), await _value(reader, values)
        if not isinstance(header, dict):
            raise ConnectionResetError(f"{address} answered with something that is no header")
        if header.get("Error"):
            raise RpcError(str(header["Error"]))
        return decode_reply(METHODS[method].reply, body)
    except TimeoutError:
        raise ConnectionResetError(f"{address} did not answer {method} in time") from None
    except WireError as error:
        raise ConnectionResetError(f"{address} answered {method} with rubbish: {error}") from None
    finally:
        writer.close()


async def _value(reader: asyncio.StreamReader, values: ValueReader) -> Any:
    while True:
        try:
            return values.next()
        except OutOfData:
            data = await reader.read(65536)
        if not data:
            raise ConnectionResetError("EOF")
        values.feed(data)
