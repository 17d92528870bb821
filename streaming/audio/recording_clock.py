"""Where audio belongs on a recording, whose clock is the caller's samples; used by ``recorder``. Pure arithmetic.

The caller's audio is placed by what its messages say of themselves, never by when they arrived: a stall followed by a
burst then leaves no trace. The agent's is placed by the playback clock, carried over to the caller's clock. Positions
and lengths are in samples, counted from the first sample of the stream.
"""

# One media message of the carrier carries 20 ms.
CHUNK_MS = 20
# A message that is this far ahead of its count says that the carrier has paused its count; several must agree.
SKIP_MS = 500
SKIP_CHUNKS = 250
# Two computers' clocks differ by less than this (parts per million); whatever seems more is delay.
MAX_DRIFT_PPM = 200
# A recording is never longer than the call by more than this, whatever the messages claim.
SLACK_MS = 5000
# So many messages in a row that would be refused are no repetitions: numbers or timestamps have begun anew.
AFRESH_CHUNKS = 50
# Agent audio that continues what went before is joined to it unless it is off by more.
JOIN_MS = 20


class CallerClock:
    """Places the caller's messages.

    Attributes:
        lost: samples for which no message came.
        refused: messages left out as repeated or out of order.
    """

    def __init__(self, rate: int) -> None:
        self.lost = 0
        self.refused = 0
        self._per_ms = rate // 1000
        self._end = 0
        self._chunk: int | None = None
        self._timestamp: int | None = None
        self._zero: int | None = None  # timestamp of position 0
        self._ahead: int | None = None  # least lead of the timestamps over the count, ms, in this run of messages
        self._run = 0
        self._begun_ms: int | None = None  # on the call's clock
        self._lead_ms = 0  # of the promptest message over the call's clock
        self._refused_in_a_row = self._refused_samples = 0

    @property
    def end(self) -> int:
        """Position behind the last message."""
        return self._end

    def place(
        self, samples: int, *, chunk: int | None, timestamp_ms: int | None, now_ms: int | None = None
    ) -> int | None:
        """Position of a message of so many samples, or None when it repeats or precedes an earlier one.

        Args:
            chunk: its number on the track; missing numbers are gaps of 20 ms each.
            timestamp_ms: its time on the carrier's clock, from any zero: places it where there is no number or the
                numbers start afresh, and otherwise only has a say when the numbers go on while time was skipped.
            now_ms: the call's clock, only to refuse gaps for which there was no time.
        """
        gap_ms = self._gap_ms(chunk, timestamp_ms)
        if gap_ms is None:
            self.refused += 1
            self._refused_in_a_row += 1
            self._refused_samples += samples
            if self._refused_in_a_row < AFRESH_CHUNKS:
                return None
            self._forget_timestamps()
            gap_ms = (self._refused_samples - samples) // self._per_ms
        self._refused_in_a_row = self._refused_samples = 0
        gap_ms = self._possible_ms(gap_ms, now_ms)
        gap = gap_ms * self._per_ms
        self.lost += gap
        position = self._end + gap
        self._end = position + samples
        self._chunk = chunk if chunk is not None else self._chunk
        if timestamp_ms is not None:
            self._timestamp = timestamp_ms
            if self._zero is None:
                self._zero = timestamp_ms - position // self._per_ms
        if now_ms is not None and self._begun_ms is not None:
            self._lead_ms = max(self._lead_ms, position // self._per_ms - (now_ms - self._begun_ms))
        return position

    def _possible_ms(self, gap_ms: int, now_ms: int | None) -> int:
        """What the call's clock leaves of a gap; timestamps that claim far more have jumped, and count from here on."""
        if now_ms is None:
            return gap_ms
        if self._begun_ms is None:
            self._begun_ms = now_ms
        passed_ms = now_ms - self._begun_ms - self._end // self._per_ms
        # No message comes before it was spoken: the promptest one says how far ahead of the clock they can be.
        if gap_ms > passed_ms + self._lead_ms + SKIP_MS:
            self._forget_timestamps()
            gap_ms = passed_ms + self._lead_ms
        return max(0, min(gap_ms, passed_ms + SLACK_MS))

    def _forget_timestamps(self) -> None:
        self._zero = self._timestamp = self._ahead = None
        self._run = 0

    def _gap_ms(self, chunk: int | None, timestamp_ms: int | None) -> int | None:
        ahead_ms = 0
        if timestamp_ms is not None and self._zero is not None:
            ahead_ms = timestamp_ms - self._zero - self._end // self._per_ms
        later = timestamp_ms is None or self._timestamp is None or timestamp_ms > self._timestamp
        if chunk is None or self._chunk is None:
            if not later and self._timestamp is not None:
                return None
            return ahead_ms if ahead_ms > 2 * CHUNK_MS else 0
        missing = chunk - self._chunk - 1
        if missing < 0:
            if not later or timestamp_ms is None or self._timestamp is None:
                return None
            return max(0, ahead_ms)
        gap_ms = missing * CHUNK_MS
        if missing and timestamp_ms is not None and abs(gap_ms - ahead_ms) > 10 * SKIP_MS:
            gap_ms = max(0, ahead_ms)  # no count jumps by seconds unless time has passed
        return gap_ms + self._skipped_ms(ahead_ms - gap_ms)

    def _skipped_ms(self, ahead_ms: int) -> int:
        self._ahead = ahead_ms if self._ahead is None else min(self._ahead, ahead_ms)
        self._run += 1
        if self._run < SKIP_CHUNKS:
            return 0
        skipped_ms, self._ahead, self._run = self._ahead, None, 0
        return skipped_ms if skipped_ms >= SKIP_MS else 0


class AgentClock:
    """Carries instants of the call's clock over to the caller's samples.

    The offset between the two follows the promptest messages: a late one says nothing, an earlier one is believed at
    once, and otherwise the offset may rise only as fast as clocks drift.
    """

    def __init__(self, rate: int) -> None:
        self._per_ms = rate // 1000
        self._offset: float | None = None
        self._seen_ms = 0
        self._until_ms = 0.0  # end of the last agent audio on the call's clock
        self._end = 0  # and on the recording

    def arrived(self, now_ms: int, end: int) -> None:
        """A caller's message that ends at position ``end`` arrived at ``now_ms`` of the call's clock."""
        offset = float(now_ms * self._per_ms - end)
        if self._offset is not None:
            drift = max(0, now_ms - self._seen_ms) * self._per_ms * MAX_DRIFT_PPM / 1_000_000
            offset = min(offset, self._offset + drift)
        self._offset = offset
        self._seen_ms = now_ms

    def place(self, plays_at_ms: int, samples: int) -> int:
        """Position of agent audio that plays from ``plays_at_ms`` on; may be negative, before the stream."""
        position = plays_at_ms * self._per_ms - round(self._offset or 0.0)
        joined = abs(plays_at_ms - self._until_ms) < 2 and abs(position - self._end) <= JOIN_MS * self._per_ms
        if joined:
            position = self._end
        self._until_ms = plays_at_ms + samples / self._per_ms
        self._end = position + samples
        return position
