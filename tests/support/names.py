# SPDX-License-Identifier: Apache-2.0
"""A name server that knows one thing: the addresses behind every name that it is asked for."""

import socket
import struct
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Final

_HEADER: Final = struct.Struct("!6H")
_QUESTION_END: Final = 5
_IPV4, _INTERNET = 1, 1
_ANSWER: Final = 0x8400
_POINTER_TO_QUESTION: Final = 0xC00C
_LARGEST: Final = 512


@contextmanager
def name_server(addresses: Sequence[str]) -> Generator[str]:
    """Answer over UDP until the end of the block; gives the ``host:port`` to ask."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=_serve, args=(asked, addresses), name="name-server")
        thread.start()
        try:
            yield f"127.0.0.1:{asked.getsockname()[1]}"
        finally:
            asked.sendto(b"", asked.getsockname())
            thread.join()


def _serve(asked: socket.socket, addresses: Sequence[str]) -> None:
    while True:
        query, sender = asked.recvfrom(_LARGEST)
        if not query:  # the word to end
            return
        asked.sendto(_answer(query, addresses), sender)


def _answer(query: bytes, addresses: Sequence[str]) -> bytes:
    """A of every name; nothing of any other kind."""
    number = _HEADER.unpack_from(query)[0]
    end = query.index(0, _HEADER.size) + _QUESTION_END
    question = query[_HEADER.size : end]
    known = addresses if question[-4:] == struct.pack("!HH", _IPV4, _INTERNET) else ()
    answers = [
        struct.pack("!HHHIH", _POINTER_TO_QUESTION, _IPV4, _INTERNET, 1, 4) + socket.inet_aton(each) for each in known
    ]
    return _HEADER.pack(number, _ANSWER, 1, len(answers), 0, 0) + question + b"".join(answers)
