"""CPU time in results: per phase, and all of what the process has used."""

import json

from shown import artifacts_of

from flows.schemas.speech import SpeechJob, SpeechResult
from flows.speech import speech
from tasks.run import counters
from tasks.run.counters import CACHE_LOOKUPS, read_series
from tasks.run.usage import process_cpu_s


def test_a_result_has_the_time_of_each_phase(home, monkeypatch):
    monkeypatch.setattr(counters, "_counts", {})
    before_s = process_cpu_s()
    state = speech(SpeechJob(text="My mother bought five big blue balloons."), return_state=True)
    used_s = process_cpu_s() - before_s

    result = SpeechResult.model_validate(json.loads(artifacts_of(state)["result"].data))
    total_s = sum(phase.cpu_s for phase in result.usage.values())
    assert result.usage.keys() >= {"speak", "join", "encode", "upload", "other"}
    assert result.usage["speak"].cpu_s > 0 and all(phase.device_s == 0 for phase in result.usage.values())
    assert 0.3 * used_s < total_s <= used_s  # without the engine's work before and after the flow
    assert result.timings_s.keys() <= result.usage.keys() | {"sign"}

    lookups = {series: value for series, value in read_series(CACHE_LOOKUPS) if value}
    assert lookups["speak", "miss"] == 1 and lookups["encode", "miss"] == 1
    speech(SpeechJob(text="My mother bought five big blue balloons."))
    assert dict(read_series(CACHE_LOOKUPS))["speak", "hit"] == 1
