"""How fast a deployment has been lately, and how often it failed: averages that fade.

They are sensitive to peaks: a value above the average pulls it up by half at once, one below pulls
it down slowly. What has not been heard of for a while is taken to be faster by and by, so that who
was slow is asked again, the more rarely the slower it was.

A reader who takes an answer slowly makes its tokens look slow; over many calls that is alike for
all deployments.
"""

from __future__ import annotations

from collections import deque
from math import exp

FADE_S = 20.0
"""After so long without news a third is left of what was known."""
_PEAK_SHARE = 0.5
_LEAST_SHARE = 0.1
"""What a new value counts for, above and below the average, however quickly it follows."""
_FIRST_AS_TOKENS = 20
"""A whole answer does not show when its first token came: it took as long as so many others."""
_FEWEST_TOKENS = 8
"""An answer with fewer says nothing about the time between tokens."""
_FAILURE_S = 1.0
"""What a failure costs beside the time of another answer: the wait before the next try."""
_WORST_SHARE = 0.9
_LATE = 0.95
_LATE_STEP = 0.1
_ENOUGH_SAMPLES = 20
_MOST_NEWS = 64
"""Whoever looks after more of them has missed the first."""


class Pace:
    """Of one deployment. `now_s` is monotonic seconds, of one clock for all calls.

    What it is told is kept until somebody looks: most deployments have nobody to be compared with.
    """

    __slots__ = (
        "_at_s", "_ended_s", "_failing", "_first_s", "_late_s", "_news", "_samples", "_token_s"
    )  # fmt: skip

    def __init__(self) -> None:
        self._news: deque[tuple[float, ...]] = deque(maxlen=_MOST_NEWS)
        self._first_s = self._token_s = self._failing = self._at_s = self._ended_s = 0.0
        self._late_s = [0.0, 0.0]
        self._samples = [0, 0]

    def hear(self, now_s: float, first_s: float) -> None:
        """Take in that the first token of a stream came after `first_s` seconds."""
        self._news.append((now_s, first_s))

    def learn(
        self, now_s: float, begun_s: float, rest_s: float, tokens: int, *, stream: bool
    ) -> None:
        """Take in an answer that came to its end; of a stream `hear` was told before.

        Args:
            begun_s: seconds until it began; of one that is not streamed, until it was there.
            rest_s: seconds from then to its end.
            tokens: of its output; 0 = not known.
        """
        self._news.append((now_s, begun_s, rest_s, tokens, stream))

    def fail(self, now_s: float) -> None:
        """Take in an attempt that failed by the deployment's fault."""
        self._news.append((now_s,))

    @property
    def samples(self) -> int:
        """How many answers were seen; 0 = nothing is known."""
        self._catch_up()
        return self._samples[0] + self._samples[1]

    @property
    def failing(self) -> float:
        """The share of attempts that failed lately, as of the last news."""
        self._catch_up()
        return self._failing

    @property
    def heard_s(self) -> float:
        """When the last news came; 0 = there was none."""
        self._catch_up()
        return self._at_s

    @property
    def first_s(self) -> float | None:
        """How long a first token took lately, on average; None = nothing is known."""
        return self._first_s if self.samples else None

    def expected_s(self, output_tokens: int, now_s: float, *, fading: bool = True) -> float:
        """Return how long an answer of so many tokens is likely to take, failures included.

        Args:
            fading: whether it may have become faster since it was last heard of.
        """
        self._catch_up()
        fade = exp(min(self._at_s - now_s, 0.0) / FADE_S) if fading else 1.0
        failing = min(self._failing * fade, _WORST_SHARE)
        answer_s = (self._first_s + self._token_s * output_tokens) * fade
        return (answer_s + failing * _FAILURE_S) / (1 - failing)

    def late_s(self, *, stream: bool) -> float | None:
        """Return in how many seconds 95 of 100 answers begin; None = too few were seen."""
        self._catch_up()
        return self._late_s[stream] if self._samples[stream] >= _ENOUGH_SAMPLES else None

    def _catch_up(self) -> None:
        news = self._news
        while news:
            try:
                piece = news.popleft()
            except IndexError:  # another thread took it
                return
            if len(piece) == 1:
                self._take_failure(piece[0])
            elif len(piece) == 2:
                self._take_first(*piece)
            else:
                self._take_end(*piece)

    def _take_first(self, now_s: float, first_s: float) -> None:
        self._first_s = _moved(self._first_s, first_s, self._keep(self._at_s, now_s))
        self._at_s = now_s
        self._take_late(first_s, stream=True)

    def _take_end(
        self, now_s: float, begun_s: float, rest_s: float, tokens: float, stream: float
    ) -> None:
        keep = self._keep(self._ended_s, now_s) if self._ended_s else 0.0
        self._failing *= min(keep, 1 - _LEAST_SHARE)
        self._at_s = self._ended_s = now_s
        if stream:
            if tokens >= _FEWEST_TOKENS:
                self._token_s = _moved(self._token_s, rest_s / tokens, keep)
            return
        token_s = (begun_s + rest_s) / (tokens + _FIRST_AS_TOKENS)
        self._token_s = _moved(self._token_s, token_s, keep)
        self._first_s = _moved(self._first_s, token_s * _FIRST_AS_TOKENS, keep)
        self._take_late(begun_s, stream=False)

    def _take_failure(self, now_s: float) -> None:
        self._failing *= exp(min(self._at_s - now_s, 0.0) / FADE_S)
        self._failing += (1 - self._failing) * 2 * _LEAST_SHARE
        self._at_s = now_s

    def _keep(self, at_s: float, now_s: float) -> float:
        """Return how much is left of what was learned at `at_s`."""
        return exp(min(at_s - now_s, 0.0) / FADE_S) if any(self._samples) else 0.0

    def _take_late(self, begun_s: float, *, stream: bool) -> None:
        """Move the estimate of the quantile a step up or, nineteen times smaller, down."""
        late_s = self._late_s[stream]
        if not self._samples[stream]:
            late_s = begun_s
        elif begun_s > late_s:
            late_s = min(begun_s, late_s * (1 + _LATE_STEP * _LATE))
        else:
            late_s *= 1 - _LATE_STEP * (1 - _LATE)
        self._late_s[stream] = late_s
        self._samples[stream] += 1


def _moved(average: float, value: float, keep: float) -> float:
    keep = min(keep, 1 - (_PEAK_SHARE if value > average else _LEAST_SHARE))
    return average * keep + value * (1 - keep)
