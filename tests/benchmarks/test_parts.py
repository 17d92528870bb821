"""Whose CPU time a sampled stack is."""

import pytest

from benchmarks import parts

pytestmark = pytest.mark.pure

LOOP = "config/server.py:serve_uvicorn;asyncio/runners.py:Runner.run"


def test_a_sample_counts_for_the_innermost_matter_and_imports_for_none():
    samples = "\n".join(
        [
            f"{LOOP} 1",
            f"{LOOP};streaming/resources.py:Resources._judge_voices;streaming/audio/detectors.py:SileroDetector.run 4",
            f"{LOOP};streaming/resources.py:Resources._judge_voices;streaming/session.py:CallSession.feed 2",
            f"{LOOP};streaming/consumers.py:PhoneLine.read;streaming/audio/vad.py:VadLane.feed 2",
            f"{LOOP};streaming/consumers.py:PhoneLine.read 1",
            f"{LOOP};importlib:_find_and_load 50",
            "somewhere/else.py:main 50",
        ]
    )
    assert parts.shares(samples) == {
        "voice detection": 0.4,
        "detection's windows, into the core": 0.2,
        "detection's feed": 0.2,
        "event loop and system calls": 0.1,
        "framing": 0.1,
    }
