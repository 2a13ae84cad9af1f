"""Being asked to stop: what is noted, and what is as it was afterwards."""

import os
import signal
import threading

import pytest

from genemamba_sc.pretraining._stop import CTRL_C, OF_SCHEDULERS, StopRequest


@pytest.mark.parametrize("name", [*OF_SCHEDULERS, CTRL_C])
def test_a_signal_is_noted_and_afterwards_does_what_it_did_before(name: str):
    number = getattr(signal, name)
    before, stop = signal.getsignal(number), StopRequest()
    with stop.listening(name):
        assert not stop.asked
        os.kill(os.getpid(), number)
        assert (stop.asked, stop.by_user) == (True, name == CTRL_C)
    assert signal.getsignal(number) == before


def test_a_second_ctrl_c_interrupts_at_once():
    stop = StopRequest()
    with stop.listening(CTRL_C):
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_an_ignored_signal_stays_ignored_and_a_taken_one_is_taken_back():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop = StopRequest()
    try:
        with stop.listening(CTRL_C, "SIGUSR1", "SIGNONE"):
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # as a library does
            stop.listen_again()
            os.kill(os.getpid(), signal.SIGINT)
            assert not stop.asked
            os.kill(os.getpid(), signal.SIGUSR1)
            assert stop.asked
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_leave_signals_alone():
    before, found = signal.getsignal(signal.SIGTERM), []

    def run() -> None:
        with StopRequest().listening(*OF_SCHEDULERS):
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [before]
