"""Reads the body of a server's answer with a limit of size, compressed or not, so that no answer fills the memory."""

import zlib
from collections.abc import AsyncIterator, Iterator

try:  # the SDK's HTTP client
    from httpx2 import AsyncByteStream, ReadError, Response
except ImportError:  # versions of the SDK before 3
    from httpx import AsyncByteStream, ReadError, Response

MiB = 1 << 20
LONGEST_BODY = 32 * MiB  # of an answer; the longest completions, with the probabilities of each token, have a few
SLOWEST = 10_000  # bytes a second on average, which a file must reach once the time for an answer is over
HEADERS = {"Accept-Encoding": "gzip, deflate"}  # what is read here in pieces of a known size
_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_PIECE = 1 * MiB


class UnreadableBody(ReadError):
    """Raised where a body is too large, cut off, or in a compression that was not asked for; the message says which."""


async def limit(response: Response) -> None:
    """Limits the body of an answer to LONGEST_BODY, as an event hook of the client; one that is read as a stream, such as a
    file, is limited by its reader. UnreadableBody, while it is read."""
    encoding = response.headers.pop("content-encoding", "identity").strip().casefold()
    longest = None if response.request.url.path.endswith("/content") else LONGEST_BODY
    response.stream = _Limited(response.stream, encoding, longest)


class _Limited(AsyncByteStream):
    """A body in pieces of at most 1 MiB, decompressed."""

    def __init__(self, stream: AsyncByteStream, encoding: str, longest: int | None):
        self._stream, self._encoding, self._longest = stream, encoding, longest

    async def __aiter__(self) -> AsyncIterator[bytes]:
        window, size = _WINDOWS.get(self._encoding), 0
        if window is None and self._encoding not in ("", "identity"):
            raise UnreadableBody(f"the server's answer is compressed in a way that was not asked for ({self._encoding[:40]})")
        unpacked = _Unpacked(window) if window else None
        async for raw in self._stream:
            for piece in unpacked.pieces(raw) if unpacked else (raw,):
                size += len(piece)
                if self._longest is not None and size > self._longest:
                    raise UnreadableBody(f"the server's answer is larger than {self._longest // MiB} MiB")
                yield piece
        if unpacked and unpacked.is_cut:
            raise UnreadableBody("the server's answer is cut off")

    async def aclose(self) -> None:
        """Closes the body."""
        await self._stream.aclose()


class _Unpacked:
    """Decompresses gzip (of one or several members) or deflate."""

    def __init__(self, window: int):
        self._window, self._member = window, zlib.decompressobj(window)
        self._begun = False

    @property
    def is_cut(self) -> bool:
        """Whether the data ended within a member."""
        return self._begun and not self._member.eof

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Yields what data unpacks to. UnreadableBody: it is not in this compression."""
        while data:
            if self._member.eof:
                self._member = zlib.decompressobj(self._window)
            try:
                piece = self._member.decompress(data, _PIECE)
            except zlib.error as error:
                if not self._begun and self._window == 15:  # some servers send deflate without its header
                    self._window, self._member, self._begun = -15, zlib.decompressobj(-15), True
                    continue
                raise UnreadableBody(f"the server's answer cannot be decompressed ({error})") from error
            self._begun = True
            if piece:
                yield piece
            data = self._member.unconsumed_tail or self._member.unused_data
