"""Each trap that was seen on real traffic has a test that would fail if we fell into it.

`TRAPS` names one for each entry of `traps.json` (a `*` stands for a provider), `WORST` for each of
the twenty that `wire.md` calls the worst. What had no other place is tested here, on the recordings
in which the trap was found.
"""

import ast
import json
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import pytest

from tests.contract import test_recordings_openai_chat as gpt
from tests.contract.test_recordings_accounted import (
    DIALECTS,
    RECORDINGS,
    Json,
    outcome,
    records,
)
from tests.contract.test_recordings_over_a_socket import STREAMING, call
from trunkline.clock import SystemClock
from trunkline.dialects import load
from trunkline.errors import ProviderError
from trunkline.testing import FakeUpstream, replay
from trunkline.transport import Transport
from trunkline.types import Extra, Started

HERE = "contract/test_traps.py"
CHAT, STREAM = (
    "unit/dialects/openai_chat/test_answer.py",
    "unit/dialects/openai_chat/test_stream.py",
)
CHAT_USAGE, CHAT_WRITE = (f"unit/dialects/openai_chat/test_{n}.py" for n in ("usage", "write"))
CHAT_ERRORS, CHAT_CALLS = (
    f"unit/dialects/openai_chat/test_{n}.py" for n in ("errors", "tool_calls")
)
CLAUDE = "unit/dialects/anthropic/test_stream.py"
CLAUDE_USAGE = "unit/dialects/anthropic/test_usage.py"
GEMINI, GEMINI_USAGE, GEMINI_SPELL = (
    f"unit/dialects/gemini/test_{name}.py" for name in ("answer", "usage", "spell")
)
BEDROCK = "unit/dialects/bedrock/test_answer.py"
NEWER = "contract/test_recordings_openai_responses.py"
NEWER_GOLDEN = "unit/dialects/openai_responses/test_golden.py"
RECORDED = "contract/test_recordings_openai_chat.py::test_answers_say_what_their_bodies_say"
UNASKED = f"{CHAT_WRITE}::test_usage_nobody_asked_for_is_dropped"
TALK = "contract/test_conversations.py::test_a_conversation_goes_on_anywhere"

TRAPS = {
    "200_error_stream": f"{STREAM}::test_errors_in_a_stream_are_raised",
    "anthropic_cache_excl": f"{CLAUDE_USAGE}::test_usage_is_normalised",
    "anthropic_delta_input": f"{CLAUDE}::test_usage_is_overwritten_field_by_field",
    "anthropic_empty_content": "unit/dialects/anthropic/test_golden.py"
    "::test_a_golden_answer_means_what_it_says",  # nothing_whole
    "anthropic_empty_thinking": f"{CLAUDE}::test_signatures_are_kept_byte_for_byte",
    "anthropic_empty_tool_input": "contract/test_recordings_anthropic.py"
    "::test_answers_say_what_their_bodies_say",
    "anthropic_md_differs": f"{CLAUDE}::test_usage_is_overwritten_field_by_field",
    "anthropic_padded_json": f"{CLAUDE}::test_words_are_scanned_and_decoded_only_when_asked",
    "anthropic_pause_turn": f"{CLAUDE}::test_every_stop_reason_has_its_meaning",
    "anthropic_ping_mid": "unit/dialects/anthropic/test_write.py"
    "::test_frames_of_the_same_dialect_are_relayed_byte_by_byte",
    "anthropic_redacted": "contract/test_translation.py"
    "::test_what_proves_a_thought_survives_a_client_of_openai",
    "anthropic_refusal": f"{CLAUDE}::test_every_stop_reason_has_its_meaning",
    "args_n*": f"{CHAT}::test_tool_calls_may_have_any_shape",
    "azure_prompt_filter": "unit/dialects/openai_chat/test_golden.py"
    "::test_a_golden_answer_means_what_it_says",  # azure_filtered
    "bedrock_exc": f"{BEDROCK}::test_an_exception_breaks_a_stream_off",
    "bedrock_meta_after_stop": f"{BEDROCK}::test_the_usage_ends_a_stream",
    "bedrock_no_start": f"{BEDROCK}::test_blocks_begin_without_a_word",
    "bedrock_p": f"{BEDROCK}::test_words_are_decoded_when_somebody_asks",
    "bedrock_total": f"{BEDROCK}::test_usage_adds_the_cache_up_and_names_the_tier",
    "cached_gt_prompt": f"{CHAT_USAGE}::test_the_inclusions_hold_whatever_is_said",
    "comment_*": f"{STREAM}::test_marks_are_right",
    "content_dict": f"{CHAT}::test_content_may_have_any_shape",
    "content_list": f"{CHAT}::test_content_may_have_any_shape",
    "content_missing": f"{CHAT}::test_content_may_be_absent",
    "crlf": "unit/transport/test_sse.py::test_events_end_at_a_blank_line_of_any_kind",
    "ctx_len": f"{CHAT_ERRORS}::test_every_way_of_saying_it",
    "empty_choices_first_*": f"{HERE}::test_a_chunk_without_choices_says_nothing",
    "gemini_fc_no_id": f"{GEMINI}::test_calls_without_ids_get_some_that_no_other_answer_has",
    "gemini_fc_stop": f"{GEMINI}::test_calls_without_ids_get_some_that_no_other_answer_has",
    "gemini_fin_int": f"{GEMINI}::test_why_an_answer_ended",
    "gemini_no_candidates": f"{GEMINI}::test_a_blocked_prompt_is_a_filtered_answer",
    "gemini_no_candidates_count": f"{GEMINI_USAGE}::test_what_is_no_count_counts_nothing",
    "gemini_parallel_sig_first": f"{GEMINI_SPELL}::test_signatures_go_back_to_where_they_came_from",
    "gemini_sig_*": "contract/test_recordings_gemini.py::test_signatures_come_as_they_are",
    "gemini_total": f"{GEMINI_USAGE}::test_everything_is_counted_once",
    "groq_double_usage": f"{STREAM}::test_repeated_usage_is_assigned",
    "groq_toolfail": f"{STREAM}::test_errors_in_a_stream_are_raised",
    "no_done_*": f"{STREAM}::test_the_end_is_known_without_decoding_events",
    "nospace": "unit/transport/test_sse.py::test_nothing_is_lost_however_it_is_cut",
    "obfuscation": f"{CHAT}::test_reasoning_details_and_unknown_fields_survive",
    "ollama_fin": "unit/dialects/ollama/test_answer.py::test_why_it_ended",
    "openai_reasoning_inside": f"{CHAT_USAGE}::test_each_familys_arithmetic",
    "openrouter_nofinish": "contract/test_recordings_over_a_socket.py"
    "::test_streams_cut_short_are_errors",
    "or_reasoning_details": f"{CHAT}::test_reasoning_details_and_unknown_fields_survive",
    "reasoning_gt_completion": f"{CHAT_USAGE}::test_the_inclusions_hold_whatever_is_said",
    "refusal_field": f"{CHAT}::test_a_refusal_is_its_own_part",
    "resp_args_done_only": f"{NEWER_GOLDEN}::test_a_golden_answer_means_what_it_says",
    "resp_cache_write": f"{NEWER}::test_answers_say_what_their_bodies_say",
    "resp_done": "unit/dialects/openai_responses/test_write.py::test_nothing_is_written_twice",
    "resp_enc": TALK,
    "resp_failed": f"{NEWER}::test_streams_survive_the_wire",
    "resp_incomplete": f"{NEWER}::test_answers_say_what_their_bodies_say",
    "resp_no_event_name": f"{NEWER}::test_relayed_answers_keep_their_bytes",
    "resp_phase": f"{NEWER_GOLDEN}::test_a_golden_answer_means_what_it_says",
    "responses_nested_error": f"{NEWER}::test_streams_survive_the_wire",
    "retry_after": f"{CHAT_ERRORS}::test_how_long_to_wait",
    "s429": f"{CHAT_ERRORS}::test_every_way_of_saying_it",
    "stream_asked_json_error": f"{HERE}::test_a_stream_may_be_answered_by_a_plain_error",
    "system_fp_null": f"{HERE}::test_an_answer_may_lack_what_names_it",
    "think_tag": f"{HERE}::test_thoughts_between_tags_are_words",
    "tool_fin_stop": f"{CHAT}::test_calls_beside_a_stop_are_the_reason",
    "tool_noindex_*": f"{CHAT_CALLS}::test_without_an_index_the_id_tells",
    "tool_whole_*": RECORDED,
    "u2028": "unit/transport/test_sse.py::test_unicode_line_separators_are_data",
    "usage_fin_*": RECORDED,
    "usage_sep_*": RECORDED,
    "usage_unasked_*": UNASKED,
    "xai_reasoning_outside": f"{CHAT_USAGE}::test_each_familys_arithmetic",
}
WORST = {
    1: f"{CHAT_USAGE}::test_each_familys_arithmetic",
    2: f"{GEMINI_USAGE}::test_everything_is_counted_once",
    3: f"{BEDROCK}::test_the_usage_ends_a_stream",
    4: f"{STREAM}::test_repeated_usage_is_assigned",
    5: "contract/test_recordings_over_a_socket.py::test_streams_cut_short_are_errors",
    6: TALK,
    7: f"{CHAT}::test_calls_beside_a_stop_are_the_reason",
    8: f"{CHAT_CALLS}::test_a_new_id_under_a_used_index_is_a_new_call",
    9: f"{CHAT_ERRORS}::test_every_way_of_saying_it",
    10: "unit/dialects/bedrock/test_build.py::test_where_tools_were_called_some_are_named",
    11: f"{HERE}::test_a_chunk_without_choices_says_nothing",
    12: f"{CHAT}::test_content_may_have_any_shape",
    13: "unit/dialects/gemini/test_errors.py::test_errors_by_status_reason_and_words",
    14: "unit/dialects/openai_responses/test_request.py"
    "::test_what_the_model_said_in_a_row_is_one_message",
    15: "unit/dialects/openai_chat/test_encode.py::test_quirks_drop_and_rename",
    16: "unit/dialects/ollama/test_build.py::test_a_prompt_that_is_too_long_is_to_be_refused",
    17: "unit/transport/test_sse.py::test_nothing_is_lost_however_it_is_cut",
    18: "unit/dialects/openai_embeddings/test_embeddings.py::test_formats",
    19: f"{CHAT_ERRORS}::test_bodies_that_are_no_json_are_read_too",
    20: "unit/dialects/openai_chat/test_history.py::test_ids_become_short_on_both_sides",
}
RECORDINGS_ONLY = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason=f"no recordings at {RECORDINGS}; set TRUNKLINE_RECORDINGS"
)


@cache
def functions_in(path: str) -> set[str]:
    """Return the names of the functions of a module of tests."""
    tree = ast.parse((Path(__file__).parents[1] / path).read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


@pytest.mark.parametrize("test", sorted({*TRAPS.values(), *WORST.values()}))
def test_what_is_named_exists(test: str) -> None:
    """A test that was renamed or taken away is missed."""
    path, _, name = test.partition("::")
    assert name in functions_in(path)


@cache
def found() -> dict[str, Json]:
    """Read which traps were found on the traffic."""
    traps: dict[str, Json] = json.loads((RECORDINGS / "traps.json").read_text())
    return traps


@RECORDINGS_ONLY
def test_every_trap_has_a_test() -> None:
    """None more and none less than were found; their examples are decoded, or refused by name."""
    for trap in found():
        assert [name for name in TRAPS if fnmatchcase(trap, name)], trap
    for name in TRAPS:
        assert [trap for trap in found() if fnmatchcase(trap, name)], name
    assert sorted(WORST) == list(range(1, 21))
    wanted = {one["id"] for trap in found().values() for one in trap["examples"]}
    became = Counter(outcome(record) for _, record in records() if record["id"] in wanted)
    print(dict(became))
    assert became.total() == len(wanted)
    assert not became["not spoken"]


def examples(trap: str) -> Iterator[Json]:
    """Give the recordings in which a trap was found."""
    ids = {
        one["id"]
        for name, one_trap in found().items()
        if fnmatchcase(name, trap)
        for one in one_trap["examples"]
    }
    return (record for _, record in records() if record["id"] in ids)


@RECORDINGS_ONLY
def test_a_chunk_without_choices_says_nothing() -> None:
    """Azure and Copilot begin with what their filter found; no words, no end, no lost beginning."""
    checked = 0
    for record in examples("empty_choices_first_*"):
        frames, _ = gpt.frames_of(record["body"], gpt.at_once)
        assert {type(event) for event in frames[0].events} <= {Started, Extra}, record["id"]
        assert not frames[0].mark
        assert list(gpt.differences(record["body"], frames)) == [], record["id"]
        checked += 1
    assert checked >= 9


@RECORDINGS_ONLY
def test_an_answer_may_lack_what_names_it() -> None:
    """Copilot's lack `created` and `object`; they are answers, and clients are given both."""
    checked = 0
    for record in gpt.records("copilot"):
        if record["stream"] or b'"object"' in record["body"]:
            continue
        frames, _ = gpt.frames_of(record["body"], gpt.at_once)
        assert list(gpt.differences(record["body"], frames)) == []
        checked += 1
    assert checked >= 7


@RECORDINGS_ONLY
def test_thoughts_between_tags_are_words() -> None:
    """They stay where they are, to the byte: some tell of tags, and some never close them."""
    checked = 0
    for provider in gpt.ANSWERS:
        for id_, body in gpt.answers(provider):
            if (said := gpt.said_in(body)["text"]).count("<think>"):
                frames, _ = gpt.frames_of(body, gpt.at_once)
                assert list(gpt.differences(body, frames)) == [], (id_, said)
                checked += 1
    assert checked >= 5


@RECORDINGS_ONLY
async def test_a_stream_may_be_answered_by_a_plain_error() -> None:
    """Its class is that of a refusal of the same words where no stream was asked for."""
    checked = 0
    async with FakeUpstream() as up:
        transport = Transport(SystemClock())
        for _, record in records():
            name = DIALECTS.get(record["endpoint"])
            status = record["response_status"]
            if name not in STREAMING or not record["stream"] or status < 400:
                continue
            headers = {k.lower(): str(v) for k, v in (record["response_headers"] or {}).items()}
            expected = load(name).decode_error(status, headers, record["body"])
            up.script(replay(record))
            with pytest.raises(ProviderError) as caught:
                await transport.send(call(name, up.url, stream=True))
            assert type(caught.value) is type(expected), record["id"]
            assert caught.value.upstream_status == status
            checked += 1
        await transport.close()
    assert checked >= 20
