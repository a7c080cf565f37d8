import pytest
from huggingface_hub.errors import HfHubHTTPError

from codlocal.core.errors import DeviceError
from codlocal.core.foreign import (
    FREE_SPACE,
    first_line,
    hub_errors,
    memory_errors,
    system_error,
    told,
)


def test_an_error_of_a_library_is_told_by_its_words():
    assert told(RuntimeError("write: No space left on device (os error 28)")) == (
        "The disk is full: write: No space left on device (os error 28).",
        FREE_SPACE,
    )
    assert told(ValueError("what is this")) is None
    message, hint = told(MemoryError())
    assert message == "This machine has too little memory."
    assert "batch_size" in hint


@pytest.mark.parametrize(
    ("words", "line"), [("", "ValueError"), ("\n", "ValueError"), ("\nThis.\nThat.", "This.")]
)
def test_an_error_is_told_by_its_first_line_or_its_type(words, line):
    assert first_line(ValueError(words)) == line


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        MemoryError(),
    ],
)
def test_too_little_memory_is_an_error_of_ours(error):
    with pytest.raises(DeviceError, match="too little memory"), memory_errors():
        raise error


@pytest.mark.parametrize("error", [OSError("No space left on device"), KeyError("a")])
def test_other_errors_pass_as_they_are(error):
    with pytest.raises(type(error)) as caught, memory_errors():
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    ("message", "shown"),
    [("Odd: no.", "Odd: no."), ("Odd: no..", "Odd: no."), ("It says no...", "It says no...")],
)
def test_a_message_ends_with_one_full_stop(message, shown):
    assert DeviceError(message).message == shown


def test_a_number_that_is_no_error_of_the_systems_is_none():
    assert system_error(ValueError("x (os error 99999999999999)")) is None


def test_the_hubs_errors_have_those_of_the_library_that_it_sends_by():
    base = hub_errors()[0]
    assert base.__name__ == "HTTPError"
    assert issubclass(HfHubHTTPError, base)


def test_a_missing_temporary_folder_is_told():
    _, hint = told(FileNotFoundError(2, "No usable temporary directory found in ['/tmp']"))
    assert "TMPDIR" in hint
