"""Reading ahead and writing behind, so that the processor that does the arithmetic never waits for files."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
R = TypeVar("R")
W = TypeVar("W")
O = TypeVar("O")  # noqa: E741 (an outcome)

AHEAD_PX = 64 * 1024 * 1024
"""How many pixels are held in memory beside those of the picture under work, read ahead or waiting to be written."""


def overlap(
    items: Sequence[T],
    *,
    read: Callable[[T, Callable[[int], None]], R],
    work: Callable[[T, R, Callable[[], None]], W],
    write: Callable[[T, W], O],
    settle: Callable[[T, O], None],
    ahead_px: int = AHEAD_PX,
) -> None:
    """Read, work and write each item, in order; while one is under work, later ones are read and earlier written.

    `work` and `settle` are called in the calling thread, `read` and `write` in one thread each. An error, an interrupt
    among them, ends the run once everything that was worked is written and settled.

    Args:
        items: what is to be done.
        read: takes an item and `admit`, which it calls before it fills memory, with the number of pixels; `admit`
            waits until no more than `ahead_px` are held, or until nothing else is.
        work: takes an item, what was read, and `breathe`, to be called now and then: it settles what is written.
        write: takes an item and what `work` returned.
        settle: takes an item and what `write` returned, in order.
        ahead_px: the most pixels that are held beside those under work.
    """
    room = _Room(ahead_px)
    writing: deque[tuple[T, Future[O]]] = deque()

    def read_one(item: T) -> tuple[R, int]:
        admitted = 0

        def admit(pixels: int) -> None:
            nonlocal admitted
            room.admit(pixels)
            admitted += pixels

        return read(item, admit), admitted

    def write_one(item: T, worked: W, pixels: int) -> O:
        try:
            return write(item, worked)
        finally:
            room.leave(pixels)

    def breathe() -> None:
        while writing and writing[0][1].done():
            item, written = writing.popleft()
            settle(item, written.result())

    with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "write") as writer:
        try:  # around this too: the reader may wait for room already, which only closing it would end
            reading = deque(reader.submit(read_one, item) for item in items)
            for item in items:
                loaded, pixels = reading.popleft().result()
                room.begin_work(pixels)
                worked = work(item, loaded, breathe)
                del loaded
                room.end_work(pixels)
                writing.append((item, writer.submit(write_one, item, worked, pixels)))
                del worked
                breathe()
        finally:
            room.close()
            reader.shutdown(cancel_futures=True)
            writer.shutdown()
            breathe()


class _Closed(Exception):  # noqa: N818 (nothing went wrong)
    """The run is over; nobody waits for what would be read."""


class _Room:
    """How many pixels are held: those under work, and beside them at most `ahead_px`."""

    def __init__(self, ahead_px: int) -> None:
        self._ahead_px = ahead_px
        self._held = self._under_work = 0
        self._closed = False
        self._changed = threading.Condition()

    def admit(self, pixels: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._fits(pixels))
            if self._closed:
                raise _Closed
            self._held += pixels

    def begin_work(self, pixels: int) -> None:
        self._move(-pixels, pixels)

    def end_work(self, pixels: int) -> None:
        self._move(pixels, -pixels)

    def leave(self, pixels: int) -> None:
        self._move(-pixels, 0)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _fits(self, pixels: int) -> bool:
        return self._held + pixels <= self._ahead_px or self._held == self._under_work == 0

    def _move(self, held: int, under_work: int) -> None:
        with self._changed:
            self._held += held
            self._under_work += under_work
            self._changed.notify_all()
