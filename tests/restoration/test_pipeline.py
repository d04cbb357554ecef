from __future__ import annotations

import threading
import time

import pytest

from mprnet.restoration.pipeline import overlap


def test_the_arithmetic_never_waits_for_files():
    def io(*_):
        time.sleep(0.05)

    def work(*_):
        time.sleep(0.06)

    start = time.perf_counter()
    overlap(range(10), read=io, work=work, write=io, settle=lambda *_: None)
    # The first read and the last write have nothing to hide behind; one after the other it would be 1.6 s.
    assert 0.7 <= time.perf_counter() - start < 1.1


def test_outcomes_come_in_order_and_in_the_calling_thread():
    seen = []
    overlap(
        "abcde",
        read=lambda item, admit: time.sleep(0.01 if item == "a" else 0) or item.upper(),
        work=lambda item, loaded, breathe: loaded * 2,
        write=lambda item, worked: time.sleep(0.01 if item == "b" else 0) or worked + "!",
        settle=lambda item, outcome: seen.append(
            (item, outcome, threading.current_thread() is threading.main_thread())
        ),
    )
    assert seen == [(item, f"{item.upper() * 2}!", True) for item in "abcde"]


def test_what_is_written_is_settled_while_the_next_is_under_work():
    seen = []

    def work(item, loaded, breathe):
        deadline = time.monotonic() + 5
        while item == 1 and not seen and time.monotonic() < deadline:
            breathe()
        return len(seen)

    overlap(range(2), read=lambda *_: None, work=work, write=lambda item, n: n, settle=lambda *step: seen.append(step))
    assert seen == [(0, 0), (1, 1)]


@pytest.mark.parametrize("step", ["read", "work", "write"])
def test_an_error_ends_the_run_once_what_was_worked_is_written(step):
    written = []

    def fail(name, item):
        if (name, item) == (step, 2):
            raise RuntimeError("broken")

    def write(item, _):
        fail("write", item)
        written.append(item)

    with pytest.raises(RuntimeError, match="broken"):
        overlap(
            range(50),
            read=lambda item, admit: fail("read", item),
            work=lambda item, loaded, breathe: fail("work", item),
            write=write,
            settle=lambda *_: None,
        )
    assert written[:2] == [0, 1]
    assert len(written) < 50


def test_an_interrupt_ends_the_run_though_the_reader_waits_for_room():
    settled = []

    def work(item, loaded, breathe):
        if item == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        overlap(
            range(10),
            read=lambda item, admit: admit(10),
            work=work,
            write=lambda item, _: item,
            settle=lambda item, _: settled.append(item),
            ahead_px=10,
        )
    assert settled == [0]


@pytest.mark.parametrize(("pixels", "most"), [(10, 4), (31, 1), (1000, 1)])
def test_no_more_is_held_than_there_is_room_for(pixels, most):
    held, largest = set(), 0
    lock = threading.Lock()

    def read(item, admit):
        nonlocal largest
        admit(pixels)
        with lock:
            held.add(item)
            largest = max(largest, len(held))

    def write(item, _):
        time.sleep(0.005)
        with lock:
            held.remove(item)

    overlap(range(12), read=read, work=lambda *_: time.sleep(0.002), write=write, settle=lambda *_: None, ahead_px=30)
    assert largest <= most
    assert held == set()


def test_an_interrupt_before_the_work_begins_ends_the_run_too():
    class Interrupted(list):
        def __iter__(self):
            yield from range(3)
            waiting.wait(5)
            raise KeyboardInterrupt

    waiting = threading.Event()

    def read(item, admit):
        if item == 1:
            waiting.set()
        admit(10)  # for the second there is no room, until the first is worked

    ended = threading.Event()

    def run():
        with pytest.raises(KeyboardInterrupt):
            overlap(
                Interrupted(),
                read=read,
                work=lambda *_: None,
                write=lambda *_: None,
                settle=lambda *_: None,
                ahead_px=10,
            )
        ended.set()

    threading.Thread(target=run, daemon=True).start()
    assert ended.wait(5)
