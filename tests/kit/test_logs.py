"""Logs: JSON lines, one shape for every library, and no number of 16 digits in any disguise."""

import io
import json
import logging
import subprocess
import sys
import threading
import warnings
from datetime import UTC, datetime
from uuid import UUID

import pytest
import structlog
import uvicorn
from faststream._internal.logger.logging import get_broker_logger
from hypothesis import given
from hypothesis import strategies as st

from services.kit.logs import bind_correlation, configure_logging, correlation_id
from services.kit.masking import MASK, masked

NIK = "5270010101010001"
AFFECTED = ("", "uvicorn", "uvicorn.error", "uvicorn.access", "faststream", "faststream.access.kafka")


def without_pytests_own_handlers():
    """Pytest adds handlers for the call itself; they raise on what ours must bear."""
    root = logging.getLogger()
    root.handlers = [one for one in root.handlers if isinstance(one.formatter, structlog.stdlib.ProcessorFormatter)]


@pytest.fixture
def lines():
    """What was logged since the last call, each line parsed. The process's logging is put back afterwards."""
    kept = {name: (log.handlers, log.propagate, log.level) for name in AFFECTED if (log := logging.getLogger(name))}
    hooks, before = (sys.excepthook, threading.excepthook), structlog.get_config()
    stream = io.StringIO()
    configure_logging("INFO", stream, service="registry")

    def take():
        text = stream.getvalue()
        stream.seek(0)
        stream.truncate()
        assert NIK not in text
        return [json.loads(line) for line in text.splitlines()]

    yield take
    for name, (handlers, propagate, level) in kept.items():
        log = logging.getLogger(name)
        log.handlers, log.propagate = handlers, propagate
        log.setLevel(level)
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(False)
    structlog.contextvars.clear_contextvars()
    structlog.configure(**before)


def test_a_line_is_json_with_time_level_logger_and_service(lines):
    structlog.get_logger("services.kit.relay").info("batch sent", batch=7)
    [line] = lines()
    assert datetime.fromisoformat(line.pop("timestamp")).tzinfo == UTC
    assert line == {
        "event": "batch sent", "level": "info", "logger": "services.kit.relay", "service": "registry", "batch": 7
    }  # fmt: skip


@pytest.mark.parametrize("name", ["asyncio", "aiokafka.consumer", "uvicorn.error", "uvicorn.access", "faststream", "x"])
def test_every_library_writes_the_same_shape_once(lines, name):
    logging.getLogger(name).warning("%s went %s", "something", "wrong", extra={"topic": "registry.households"})
    [line] = lines()
    assert (line["event"], line["level"], line["logger"]) == ("something went wrong", "warning", name)
    assert (line["service"], line["topic"]) == ("registry", "registry.households")


def test_uvicorn_keeps_our_shape_when_it_sets_up_its_own_logging(lines):
    uvicorn.Config("x:app", log_config=None).configure_logging()
    logging.getLogger("uvicorn.error").info("started", extra={"color_message": "\x1b[1mstarted"})
    [line] = lines()
    assert line["event"] == "started"
    assert "color_message" not in line


def test_a_broker_logger_that_faststream_makes_afterwards_writes_once_and_to_our_stream(lines, capsys, monkeypatch):
    # In a process the stream is standard output; here it is the fixture's.
    monkeypatch.setattr(sys, "stdout", logging.getLogger().handlers[0].stream)
    from faststream._internal.context import ContextRepo

    log = get_broker_logger("kafka", {"topic": "", "group_id": ""}, 10, "%(message)s", ContextRepo(), logging.INFO)
    log.info("received")
    [line] = lines()
    assert line["event"] == "received"
    assert capsys.readouterr() == ("", "")


def test_lines_below_the_level_are_left_out(lines):
    structlog.get_logger("x").debug("detail")
    logging.getLogger("x").debug("detail")
    assert lines() == []


def test_the_correlation_id_is_on_the_lines_of_every_library(lines):
    assert correlation_id() is None
    bind_correlation("0190a5d3-7c1e-7000-8000-000000000001")
    structlog.get_logger("x").info("ours")
    logging.getLogger("asyncio").info("theirs")
    assert {line["correlation_id"] for line in lines()} == {"0190a5d3-7c1e-7000-8000-000000000001"}
    assert correlation_id() == "0190a5d3-7c1e-7000-8000-000000000001"


@pytest.mark.parametrize(
    "text",
    [
        NIK,
        f"x{NIK}y",
        f"NIK{NIK}",
        f"nik={NIK}&page=2",
        f"/participants?nik={NIK}",
        "5270 0101 0101 0001",
        "5270.0101.0101.0001",
        "5270-0101-0101-0001",
        "5270_0101_0101_0001",
        "527001/010101/0001",
        "527001,010101,0001",
        "527001:010101:0001",
        "5270 - 0101 - 0101 - 0001",
        "5 2 7 0 0 1 0 1 0 1 0 1 0 0 0 1",
        "5270\t0101\n0101\r0001",
        "5270\u00a00101\u20090101\u202f0001",
        "5270\u20110101\u20130101\u22120001",
        "5270\u200b0101\u200b0101\u200b0001",
        "5270\u00ad01010101\ufeff0001",
        "5270%200101%200101%200001",
        "5270+0101+0101+0001",
        "5270%2D0101%2D0101%2D0001",
        "5270%C2%A001010101%C2%A00001",
        r"5270\xa00101\xa00101\xa00001",
        r"5270\u200b0101\u200b0101\u200b0001",
        r"5270\t0101\n0101\t0001",
        "5270&nbsp;0101&nbsp;0101&nbsp;0001",
        "５２７００１０１０１０１０００１",
        "٥٢٧٠٠١٠١٠١٠١٠٠٠١",
        f"{NIK}{NIK}",
        f"{NIK}0",
        f"00{NIK}",
        f"52.01,{NIK}",
        f"2024-07-08 {NIK}",
        f"2024-07-08T01:02:03Z {NIK}",
        f"10.0.12.34:54321 {NIK}",
        f"10.0.12.34:54321{NIK}",
        f"0190a5d3-7c1e-7000-8000-00000000000a-{NIK}",
        "5.270010101010001e+15",
        "5270010101010001.0",
        "(nik)=(5270010101010001)",
        '{"nik":"5270010101010001"}',
        "{'nik': 5270010101010001}",
    ],
)
def test_a_number_of_16_digits_is_masked_in_any_disguise(text):
    hidden = masked(text)
    assert MASK in hidden
    digits = "".join(sign for sign in hidden.replace(MASK, "") if sign.isdigit())
    assert "0101" not in digits
    assert "٠١٠١" not in digits


@pytest.mark.parametrize(
    "text",
    [
        "15 digits 527001010101000 are none",
        "0190a5d3-7c1e-7000-8000-000000000001",
        "12345678-1234-4321-8123-123456789012",
        "moved 12345678-1234-7321-8123-123456789012 and 12345678-1234-7321-8123-123456789013",
        "2024-07-08T01:02:03.123456Z",
        "2024-07-08 09:02:03.123456+08:00",
        "root 1234567890123456789012345678901234567890123456789012345678901a34",
        "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
        "area 52.01.01.2001 at offset 123456, partition 3",
        "127.0.0.1:54321 - GET /cohorts 200",
        "192.168.100.100:54321 - GET /cohorts 200",
        "+62 812-3456-7890 is no NIK, though nobody may log it",
    ],
)
def test_what_is_no_such_number_stays_readable(text):
    assert masked(text) == text


@given(
    st.text(st.sampled_from("0123456789"), min_size=16, max_size=40),
    st.lists(st.sampled_from(["", "", " ", "-", ".", "\u00a0", "%20", "\\u200b", " - "]), min_size=40, max_size=40),
    st.text(st.sampled_from("abcxyz \"'{[,"), max_size=5),
)
def test_no_16_digits_in_a_row_survive_any_grouping(digits, between, before):
    text = before + digits[0] + "".join(gap + digit for gap, digit in zip(between, digits[1:], strict=False))
    hidden = masked(text)
    assert hidden == before + MASK or sum(sign.isdigit() for sign in hidden.replace(MASK, "")) < 16


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError(NIK)


class Telling:
    def __repr__(self) -> str:
        return f"Person(nik={NIK})"


@pytest.mark.parametrize(
    "value",
    [
        int(NIK),
        -int(NIK),
        float(NIK),
        NIK.encode(),
        bytearray(NIK.encode()),
        [{"deep": [(NIK,)]}],
        {NIK: 1},
        {int(NIK): 1},
        {"set": {NIK}},
        Telling(),
        Unprintable(),
        [Telling()],
        ValueError(NIK),
        float("nan"),
    ],
)
def test_values_of_any_type_are_masked_and_the_line_is_still_json(lines, value):
    without_pytests_own_handlers()
    structlog.get_logger("x").info("seen", value=value)
    logging.getLogger("x").info("seen", extra={"value": value})
    logging.getLogger("x").info("seen %s", type(value).__name__)
    assert [line["event"][:4] for line in lines()] == ["seen"] * 3


def test_keys_arguments_and_the_event_itself_are_masked(lines):
    structlog.get_logger("x").info(f"listed {NIK}", **{NIK: 1})
    structlog.get_logger("x").info("listed %s", NIK)
    logging.getLogger("x").info("listed %s", NIK)
    logging.getLogger("x").info(f"listed {NIK}")
    bind_correlation(NIK)
    structlog.get_logger("x").info("bound")
    found = lines()
    assert [line["event"] for line in found] == [f"listed {MASK}"] * 4 + ["bound"]
    assert found[0][MASK] == 1
    assert found[4]["correlation_id"] == MASK


def test_ids_times_and_figures_stay_as_they_are(lines):
    at = datetime(2024, 7, 8, 1, 2, 3, 123456, tzinfo=UTC)
    some = UUID("12345678-1234-4321-8123-123456789012")
    structlog.get_logger("x").info("seen", at=at, some=some, ok=True, count=10**14, share=0.1 + 0.2, none=None)
    [line] = lines()
    assert (line["at"], line["some"]) == (str(at), str(some))
    assert (line["ok"], line["count"], line["share"], line["none"]) == (True, 10**14, 0.1 + 0.2, None)


def test_a_structure_that_holds_itself_does_not_break_the_log(lines):
    loop: dict = {"nik": NIK}
    loop["self"] = loop
    structlog.get_logger("x").info("seen", loop=loop)
    assert len(lines()) == 1


def test_exceptions_and_their_causes_are_masked(lines):
    def fail():
        try:
            raise KeyError(f"no participant {NIK}")
        except KeyError as error:
            raise ValueError("5270\u00a00101\u00a00101\u00a00001") from error

    for log in (structlog.get_logger("x").exception, logging.getLogger("x").exception):
        try:
            fail()
        except ValueError:
            log("failed")
    try:
        raise ExceptionGroup("several", [ValueError(NIK), TypeError(f"x{NIK}")])
    except ExceptionGroup as error:
        structlog.get_logger("x").error("failed", exc_info=error)
    first, second, third = (line["exception"] for line in lines())
    for text in (first, second):
        assert f"KeyError: 'no participant {MASK}'" in text
        assert f"\nValueError: {MASK}" in text
        assert "in fail" in text
    assert f"ValueError: {MASK}" in third
    assert f"TypeError: x{MASK}" in third


def test_a_record_that_cannot_be_formatted_is_reported_without_its_arguments(lines, capsys):
    without_pytests_own_handlers()
    logging.getLogger("aiokafka").info("%d rows of %s", NIK, NIK)
    assert lines() == []
    said = capsys.readouterr().err
    assert NIK not in said
    lost = json.loads(said)
    assert (lost["event"], lost["logger"], lost["error"]) == ("log line lost", "aiokafka", "TypeError")


def test_warnings_go_to_the_log(lines):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn(f"deprecated for {NIK}", UserWarning, stacklevel=1)
    [line] = lines()
    assert line["logger"] == "py.warnings"
    assert MASK in line["event"]


@pytest.mark.parametrize(
    "fault",
    [
        f"raise ValueError('no participant {NIK}')",
        f"import threading\nt = threading.Thread(target=lambda: int('x{NIK}'))\nt.start(); t.join()",
    ],
)
def test_an_uncaught_exception_ends_in_the_log_and_nowhere_else(fault):
    program = f"from services.kit.logs import configure_logging\nconfigure_logging('INFO', service='x')\n{fault}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert NIK not in done.stdout
    [line] = [json.loads(line) for line in done.stdout.splitlines()]
    assert (line["event"], line["level"], line["service"]) == ("uncaught exception", "critical", "x")
    assert "ValueError" in line["exception"]
