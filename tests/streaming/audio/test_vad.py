"""Voice activity: what it hears in speech and noise, and that batches, stalls and rates change nothing."""

from collections.abc import Callable

import numpy as np
import pytest

from agents.providers.base import L16_8K, L16_16K, L16_24K, MULAW_8K
from sandbox import audio
from streaming.audio import codecs
from streaming.audio.detectors import SILERO_FILES, EnergyDetector, SileroDetector, best_detector
from streaming.audio.models import model_file
from streaming.audio.resample import convert
from streaming.audio.vad import Decimator, VadHub
from tests.streaming.audio.speech import PROMPTS, on_a_line, prompt

pytestmark = pytest.mark.pure

FRAME = 160
DETECTORS = [SileroDetector, EnergyDetector]


@pytest.fixture(params=DETECTORS)
def hub(request: pytest.FixtureRequest) -> VadHub:
    if request.param is SileroDetector and model_file(*SILERO_FILES) is None:
        pytest.skip("needs the Silero model of requirements-models.txt")
    return VadHub(request.param())


@pytest.fixture
def silero() -> VadHub:
    if model_file(*SILERO_FILES) is None:
        pytest.skip("needs the Silero model of requirements-models.txt")
    return VadHub(SileroDetector())


def listen(hub: VadHub, samples: np.ndarray) -> np.ndarray:
    heard: list[float] = []
    lane = hub.attach(MULAW_8K, heard.append)
    for start in range(0, samples.size, FRAME):
        lane.feed(codecs.samples_to_mulaw(samples[start : start + FRAME]))
        hub.tick()
    lane.close()
    return np.array(heard)


@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize("noise_dbfs", [-65.0, -45.0])
def test_silero_finds_beginning_and_end_of_human_speech(silero: VadHub, name: str, noise_dbfs: float) -> None:
    speech = prompt(name)
    windows = listen(silero, on_a_line(speech, noise_dbfs=noise_dbfs))
    voiced = np.flatnonzero(windows >= 0.5)
    assert voiced.size, "not heard at all"
    begin_ms, end_ms = 2000, 2000 + speech.size // 8
    assert -10 <= (voiced[0] + 1) * 32 - begin_ms <= 180, "onset"
    assert -40 <= (voiced[-1] + 1) * 32 - end_ms <= 200, "end"


@pytest.mark.parametrize("name", PROMPTS)
def test_the_fallback_finds_human_speech_on_a_quiet_line(name: str) -> None:
    speech = prompt(name)
    windows = listen(VadHub(EnergyDetector()), on_a_line(speech, noise_dbfs=-65.0))
    voiced = np.flatnonzero(windows >= 0.5)
    assert voiced.size, "not heard at all"
    assert -10 <= (voiced[0] + 1) * 32 - 2000 <= 180, "onset"
    assert -200 <= (voiced[-1] + 1) * 32 - 2000 - speech.size // 8 <= 200, "end"


@pytest.mark.parametrize("level_dbfs", [-70.0, -50.0, -40.0])
def test_noise_is_not_speech(hub: VadHub, level_dbfs: float) -> None:
    windows = listen(hub, audio.noise(10_000, 8000, level_dbfs=level_dbfs))
    assert windows.max() < 0.5


def test_silence_is_clearly_silence(hub: VadHub) -> None:
    assert listen(hub, np.zeros(40_000, np.int16)).max() < 0.1


def test_speech_after_a_minute_of_silence_is_found_as_fast(silero: VadHub) -> None:
    windows = listen(silero, on_a_line(prompt("vm-intro"), before_ms=60_000))
    voiced = np.flatnonzero(windows >= 0.5)
    assert 0 <= (voiced[0] + 1) * 32 - 60_000 <= 180


def test_a_batch_gives_what_single_runs_give(silero: VadHub) -> None:
    lines = [on_a_line(prompt(name), before_ms=300 * n)[: 8000 * 4] for n, name in enumerate(PROMPTS)]
    alone = [listen(VadHub(silero.detector), line) for line in lines]
    together: list[list[float]] = [[] for _ in lines]
    lanes = [silero.attach(MULAW_8K, heard.append) for heard in together]
    for start in range(0, 8000 * 4, FRAME):
        for lane, line in zip(lanes, lines, strict=True):
            if start < line.size:
                lane.feed(codecs.samples_to_mulaw(line[start : start + FRAME]))
        silero.tick()
    for single, batched in zip(alone, together, strict=True):
        np.testing.assert_allclose(batched, single, atol=1e-4)


def test_one_tick_judges_all_lanes_in_one_run() -> None:
    hub = VadHub(Recorder())
    heard: list[int] = []
    lanes = [hub.attach(MULAW_8K, lambda _, n=n: heard.append(n)) for n in range(20)]
    for lane in lanes:
        lane.feed(bytes(256))
    assert hub.pending
    assert hub.tick() == 1
    assert heard == list(range(20))
    assert not hub.pending
    assert hub.tick() == 0


class Recorder:
    """A detector that answers from a script and remembers what it was shown."""

    def __init__(self, answer: Callable[[int], float] = lambda _: 0.0) -> None:
        self.answer = answer
        self.windows: list[np.ndarray] = []
        self.resets: list[tuple[int, int]] = []

    def reset(self, slot: int) -> None:
        self.resets.append((slot, len(self.windows)))

    def probabilities(self, windows: np.ndarray, slots: list[int]) -> np.ndarray:
        self.windows += [row.copy() for row in windows]
        return np.array([self.answer(len(self.windows) - 1)] * len(slots), np.float32)


def numbers(detector: Recorder) -> list[list[int]]:
    """The windows that were judged, as the integers that were fed."""
    return [(window * 32768).astype(int).tolist() for window in detector.windows]


@pytest.mark.parametrize("piece", [1, 33, 160, 256, 1000])
def test_windows_follow_each_other_without_gap_and_carry_their_context(piece: int) -> None:
    detector = Recorder()
    hub = VadHub(detector)
    lane = hub.attach(L16_8K, lambda _: None)
    samples = np.arange(6000, dtype=np.int16)
    for start in range(0, samples.size, piece):
        lane.feed(samples[start : start + piece].tobytes())
        hub.tick()
    assert len(detector.windows) == 6000 // 256
    for n, window in enumerate(numbers(detector)):
        assert window[32:] == samples[n * 256 : n * 256 + 256].tolist()
        assert window[:32] == (samples[n * 256 - 32 : n * 256].tolist() if n else [0] * 32)


def test_after_a_stall_the_newest_second_is_judged_in_order_and_the_rest_counted() -> None:
    detector = Recorder()
    hub = VadHub(detector)
    lane = hub.attach(L16_8K, lambda _: None)
    samples = np.arange(256 * 100, dtype=np.int16)
    for start in range(0, samples.size, FRAME):
        lane.feed(samples[start : start + FRAME].tobytes())
    assert hub.tick() == 31
    assert lane.dropped_windows == 69
    assert [window[32] // 256 for window in numbers(detector)] == list(range(69, 100))
    assert numbers(detector)[0][31] == 69 * 256 - 1, "seen behind what was really said before"


def test_one_huge_piece_is_bounded_too() -> None:
    detector = Recorder()
    hub = VadHub(detector)
    lane = hub.attach(L16_8K, lambda _: None)
    lane.feed((np.arange(256 * 1000) // 256).astype(np.int16).tobytes())
    hub.tick()
    assert [window[32] for window in numbers(detector)] == list(range(969, 1000))


def test_the_state_is_renewed_after_two_seconds_only_in_clear_silence() -> None:
    detector = Recorder(lambda n: 0.9 if n < 200 else 0.02)
    hub = VadHub(detector)
    lane = hub.attach(MULAW_8K, lambda _: None)
    for _ in range(300):
        lane.feed(bytes(256))
        hub.tick()
    assert detector.resets == [(0, 0), (0, 205), (0, 267)]


def test_an_unsure_line_is_never_renewed() -> None:
    detector = Recorder(lambda n: 0.2 if n % 5 == 4 else 0.05)
    hub = VadHub(detector)
    lane = hub.attach(MULAW_8K, lambda _: None)
    for _ in range(300):
        lane.feed(bytes(256))
        hub.tick()
    assert detector.resets == [(0, 0)]


@pytest.mark.parametrize("level_dbfs", [-20.0, -50.0])
def test_a_window_comes_with_its_power(level_dbfs: float) -> None:
    hub = VadHub(Recorder())
    powers: list[float] = []
    lane = hub.attach(MULAW_8K, lambda _: powers.append(lane.power))
    lane.feed(codecs.samples_to_mulaw(audio.noise(2000, 8000, level_dbfs=level_dbfs)))
    hub.tick()
    assert 10 * np.log10(np.mean(powers)) == pytest.approx(level_dbfs, abs=0.3)


def test_a_closed_lane_hears_nothing_more_and_its_place_starts_afresh(silero: VadHub) -> None:
    line = on_a_line(prompt("vm-intro"), before_ms=0)[:16_000]
    first = listen(silero, line)
    again = listen(silero, line)
    np.testing.assert_allclose(first, again, atol=1e-6)
    heard: list[float] = []
    lane = silero.attach(MULAW_8K, heard.append)
    lane.feed(bytes(256))
    lane.close()
    lane.close()
    lane.feed(bytes(2560))
    silero.tick()
    assert heard == []


def test_a_lane_may_close_itself_or_a_neighbour_while_it_is_told() -> None:
    hub = VadHub(Recorder())
    heard: list[str] = []

    def first(_: float) -> None:
        heard.append("first")
        lanes[0].close()
        lanes[1].close()

    lanes = [hub.attach(MULAW_8K, first), hub.attach(MULAW_8K, lambda _: heard.append("second"))]
    for lane in lanes:
        lane.feed(bytes(600))
    hub.tick()
    assert heard == ["first"]


def test_one_calls_fault_does_not_cost_the_others_their_windows() -> None:
    hub = VadHub(Recorder())
    heard: list[float] = []

    def broken(_: float) -> None:
        message = "a fault of this call"
        raise RuntimeError(message)

    lanes = [hub.attach(MULAW_8K, broken), hub.attach(MULAW_8K, heard.append)]
    for lane in lanes:
        lane.feed(bytes(512))
    with pytest.raises(ExceptionGroup) as caught:
        hub.tick()
    assert len(caught.value.exceptions) == 2
    assert len(heard) == 2


class Faulty(Recorder):
    """A detector that speaks of each slot by its number, and has its whims.

    Attributes:
        broken: slots that fail, until they are reset where ``healed_by_reset``.
        senseless: slots that are answered with no number until they are reset.
    """

    def __init__(self, *, broken: set[int] = frozenset(), healed_by_reset: bool = True) -> None:
        super().__init__()
        self.broken = set(broken)
        self.senseless: set[int] = set()
        self.healed_by_reset = healed_by_reset

    def reset(self, slot: int) -> None:
        super().reset(slot)
        self.senseless.discard(slot)
        if self.healed_by_reset:
            self.broken.discard(slot)

    def probabilities(self, windows: np.ndarray, slots: list[int]) -> np.ndarray:
        if self.broken & set(slots):
            message = "a state that cannot be worked with"
            raise RuntimeError(message)
        return np.array([np.nan if slot in self.senseless else (slot + 1) / 10 for slot in slots], np.float32)


def told(hub: VadHub, calls: int) -> list[list[float]]:
    """Lanes whose windows are in the lists that come back."""
    heard: list[list[float]] = [[] for _ in range(calls)]
    for each in heard:
        hub.attach(MULAW_8K, each.append)
    return heard


def speak(hub: VadHub) -> None:
    for lane in hub._lanes.values():
        lane.feed(bytes(256))
    hub.tick()


def test_a_call_on_which_the_detector_fails_costs_no_call_a_window() -> None:
    detector = Faulty()
    hub = VadHub(detector)
    heard = told(hub, 3)
    detector.broken = {1}
    speak(hub)
    speak(hub)
    assert heard == [pytest.approx([p, p]) for p in (0.1, 0.2, 0.3)]
    assert [slot for slot, _ in detector.resets] == [0, 1, 2, 1], "only the call at fault began afresh"
    assert hub.detector is detector


def test_a_detector_that_fails_for_good_makes_way_for_the_fallback_at_once() -> None:
    detector = Faulty(healed_by_reset=False)
    hub = VadHub(detector)
    heard = told(hub, 2)
    detector.broken = {0, 1}
    speak(hub)
    speak(hub)
    assert isinstance(hub.detector, EnergyDetector)
    assert [len(each) for each in heard] == [2, 2]
    late = told(hub, 1)
    speak(hub)
    assert len(late[0]) == 1


def test_no_number_is_silence_to_its_call_alone_and_does_not_last() -> None:
    detector = Faulty()
    hub = VadHub(detector)
    heard = told(hub, 2)
    detector.senseless = {0}
    speak(hub)
    speak(hub)
    assert heard == [pytest.approx([0.0, 0.1]), pytest.approx([0.2, 0.2])]
    assert [lane.senseless_windows for lane in hub._lanes.values()] == [1, 0]


def test_calls_of_every_codec_share_a_run_and_each_is_heard_as_it_is_written() -> None:
    detector = Recorder()
    hub = VadHub(detector)
    lanes = [hub.attach(fmt, lambda _: None) for fmt in (MULAW_8K, L16_8K, L16_16K, MULAW_8K)]
    loud = np.full(256, 16_000, np.int16)
    lanes[0].feed(codecs.samples_to_mulaw(loud))
    lanes[1].feed(loud.tobytes())
    lanes[2].feed(np.tile(loud, 2).tobytes())
    lanes[3].feed(codecs.samples_to_mulaw(-loud))
    assert hub.tick() == 1
    levels = [float(window[-100:].mean()) for window in detector.windows]
    assert levels == pytest.approx([0.49, 0.49, 0.49, -0.49], abs=0.02)


def test_a_call_that_could_not_be_attached_takes_no_other_calls_place() -> None:
    detector = Faulty()
    hub = VadHub(detector)
    lanes = [hub.attach(MULAW_8K, lambda _: None) for _ in range(3)]
    lanes[1].close()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(detector, "reset", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            hub.attach(MULAW_8K, lambda _: None)
    assert hub.attach(MULAW_8K, lambda _: None).slot == 1
    assert hub.attach(MULAW_8K, lambda _: None).slot == 3


def test_a_place_that_changes_hands_while_the_hub_tells_is_not_told_of_the_one_before() -> None:
    detector = Faulty()
    hub = VadHub(detector)
    heard: list[float] = []

    def first(_: float) -> None:
        lanes[1].close()
        lanes.append(hub.attach(MULAW_8K, heard.append))

    lanes = [hub.attach(MULAW_8K, first), hub.attach(MULAW_8K, lambda _: heard.append(-1))]
    for lane in lanes:
        lane.feed(bytes(256))
    hub.tick()
    assert lanes[2].slot == lanes[1].slot
    assert heard == []
    lanes[2].feed(bytes(256))
    hub.tick()
    assert heard == pytest.approx([0.2])


def test_16_khz_is_judged_as_8_khz_is(silero: VadHub) -> None:
    line = on_a_line(prompt("vm-intro"))
    narrow = listen(silero, line)
    wide_audio = convert(codecs.samples_to_l16(line), L16_8K, L16_16K)
    heard: list[float] = []
    lane = silero.attach(L16_16K, heard.append)
    for start in range(0, len(wide_audio), 640):
        lane.feed(wide_audio[start : start + 640])
        silero.tick()
    agree = np.mean((np.array(heard)[: narrow.size] >= 0.5) == (narrow[: len(heard)] >= 0.5))
    assert agree > 0.95


def test_decimation_keeps_speech_and_removes_what_would_fold_back() -> None:
    def through(hz: float) -> np.ndarray:
        decimate = Decimator()
        tone = codecs.samples_to_l16((np.sin(2 * np.pi * hz * np.arange(16_000) / 16_000) * 32_000).astype(np.int16))
        pieces = [decimate(tone[start : start + 662]) for start in range(0, len(tone), 662)]
        out = np.frombuffer(b"".join(pieces), np.float32) * (32_768 / 32_000)
        assert out.size == 8000
        return out[100:]

    assert 0.97 < through(970.0).max() < 1.03
    assert 0.97 < through(2930.0).max() < 1.03
    assert np.abs(through(5500.0)).max() < 0.01


def test_other_rates_are_refused() -> None:
    with pytest.raises(ValueError, match="24000"):
        VadHub(Recorder()).attach(L16_24K, lambda _: None)


def test_without_a_model_the_fallback_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streaming.audio.detectors.SILERO_FILES", (("no_such_package", "x.onnx"),))
    assert isinstance(best_detector(), EnergyDetector)
    with pytest.raises(FileNotFoundError, match="requirements-models"):
        SileroDetector()


def test_the_models_are_found_without_importing_their_packages() -> None:
    import sys  # noqa: PLC0415 - only this test asks what was imported

    model_file(*SILERO_FILES)
    assert not {"silero_vad", "pipecat", "torch"} & set(sys.modules)
