"""The peer: a Plivo voice bot with Pipecat, written the way its own documentation does it.

Runs in an environment of its own (``.venv-pipecat``) and imports nothing of Parley: ``python benchmarks/pipecat_bot.py
PORT SANDBOX_URL``. Everything is at 8 kHz, so that nothing is resampled; the turn ends when the detector says so and
the text is there.
"""

import json
import sys
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI, WebSocket
from loguru import logger
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADParams
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair, LLMUserAggregatorParams
from pipecat.serializers.plivo import PlivoFrameSerializer
from pipecat.services.elevenlabs.stt import ElevenLabsRealtimeSTTService
from pipecat.services.elevenlabs.tts import ElevenLabsTTSService
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.turns.user_stop import SpeechTimeoutUserTurnStopStrategy
from pipecat.turns.user_turn_strategies import UserTurnStrategies
from pipecat.workers.runner import WorkerRunner

KEY = "test-benchmark"
MODEL = "gpt-4.1-mini"
VOICE_ID = "sandboxToneLoad00007"
RATE = 8000

app = FastAPI()


class Ears(ElevenLabsRealtimeSTTService):
    """The service puts wss:// before its base URL; the sandbox serves without TLS."""

    async def _websocket_connect(self, url: str, **options):
        return await super()._websocket_connect(url.replace("wss://", "ws://", 1), **options)


@app.websocket("/ws/{_call}")
async def stream(websocket: WebSocket, _call: str) -> None:
    """One call."""
    await websocket.accept()
    start = json.loads(await websocket.receive_text())["start"]
    box = urlsplit(sys.argv[2])
    transport = FastAPIWebsocketTransport(
        websocket=websocket,
        params=FastAPIWebsocketParams(
            audio_in_enabled=True,
            audio_out_enabled=True,
            serializer=PlivoFrameSerializer(
                stream_id=start["streamId"],
                call_id=start["callId"],
                params=PlivoFrameSerializer.InputParams(auto_hang_up=False),
            ),
        ),
    )
    stt = Ears(api_key=KEY, base_url=box.netloc, sample_rate=RATE)
    llm = OpenAILLMService(api_key=KEY, base_url=f"{sys.argv[2]}/v1", settings=OpenAILLMService.Settings(model=MODEL))
    tts = ElevenLabsTTSService(
        api_key=KEY,
        url=f"ws://{box.netloc}",
        sample_rate=RATE,
        settings=ElevenLabsTTSService.Settings(voice=VOICE_ID, model="eleven_flash_v2_5"),
    )
    prompt = "You answer the phone of a dental office, in one or two short sentences."
    context = LLMContext([{"role": "system", "content": prompt}])
    aggregators = LLMContextAggregatorPair(
        context,
        user_params=LLMUserAggregatorParams(
            vad_analyzer=SileroVADAnalyzer(sample_rate=RATE, params=VADParams(stop_secs=0.2)),
            user_turn_strategies=UserTurnStrategies(stop=[SpeechTimeoutUserTurnStopStrategy(user_speech_timeout=0)]),
        ),
    )
    pipeline = Pipeline(
        [transport.input(), stt, aggregators.user(), llm, tts, transport.output(), aggregators.assistant()]
    )
    worker = PipelineWorker(
        pipeline,
        params=PipelineParams(audio_in_sample_rate=RATE, audio_out_sample_rate=RATE, enable_metrics=False),
    )

    @transport.event_handler("on_client_disconnected")
    async def left(_transport, _client) -> None:
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


if __name__ == "__main__":
    logger.remove()
    logger.add(sys.stderr, level="ERROR")
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", log_level="error", ws="auto")
