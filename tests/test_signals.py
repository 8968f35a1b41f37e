"""Signals, raised in this process and delivered to handlers of the tests' own."""

import signal
import threading

import pytest

from logllm_core.errors import LogLLMError
from logllm_core.signals import Interruption, noted_interruptions


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_noted_and_delivered_when_it_is_passed_on(
    number: signal.Signals, delivered: list[int]
) -> None:
    handler = signal.getsignal(number)
    with noted_interruptions() as interruption:
        assert not interruption.is_noted
        signal.raise_signal(number)
        assert interruption.is_noted
        assert delivered == []
        with pytest.raises(LogLLMError, match=r"asked to stop, .* command goes on from"):
            interruption.pass_on()
    assert delivered == [number]
    assert signal.getsignal(number) is handler


def test_what_another_process_was_asked_is_passed_on_as_sigterm(delivered: list[int]) -> None:
    with noted_interruptions() as interruption, pytest.raises(LogLLMError):
        interruption.pass_on()
    assert delivered == [signal.SIGTERM]


def test_the_usual_handling_of_ctrl_c_comes_back_as_such() -> None:
    with noted_interruptions() as interruption:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            interruption.pass_on()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_is_delivered_at_once(delivered: list[int]) -> None:
    with noted_interruptions():
        signal.raise_signal(signal.SIGINT)
        assert delivered == []
        signal.raise_signal(signal.SIGINT)
        assert delivered == [signal.SIGINT]
    assert delivered == [signal.SIGINT]  # once


def test_a_second_sigterm_is_no_more_than_the_first(delivered: list[int]) -> None:
    with noted_interruptions() as interruption:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert delivered == []
        with pytest.raises(LogLLMError):
            interruption.pass_on()
    assert delivered == [signal.SIGTERM]


def test_a_signal_that_nobody_passed_on_is_not_swallowed(delivered: list[int]) -> None:
    with noted_interruptions():
        signal.raise_signal(signal.SIGTERM)
    assert delivered == [signal.SIGTERM]


def test_a_signal_before_an_error_is_not_swallowed(delivered: list[int]) -> None:

    def fail() -> None:
        with noted_interruptions():
            signal.raise_signal(signal.SIGTERM)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert delivered == [signal.SIGTERM]


def test_without_a_signal_all_is_as_before(delivered: list[int]) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with noted_interruptions() as interruption:
        assert signal.getsignal(signal.SIGTERM) == interruption.note
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert delivered == []


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with noted_interruptions() as interruption:
            signal.raise_signal(signal.SIGINT)
            assert not interruption.is_noted
    finally:
        signal.signal(signal.SIGINT, before)


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    handler = signal.getsignal(signal.SIGTERM)
    found: list[Interruption] = []

    def work() -> None:
        with noted_interruptions() as interruption:
            assert signal.getsignal(signal.SIGTERM) is handler
            found.append(interruption)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not found[0].is_noted
