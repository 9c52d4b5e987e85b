"""Configurations that users were promised would load, word for word."""

ADR = """\
llm_service:
  default_provider: "openai"
  fallback_chain: ["openai", "anthropic", "ollama"]

  providers:
    openai:
      api_key: "${OPENAI_API_KEY}"
      base_url: "https://api.openai.com/v1"
      models:
        - gpt-3.5-turbo
        - gpt-4
        - gpt-4-turbo
      rate_limits:
        requests_per_minute: 60
        tokens_per_minute: 40000

    anthropic:
      api_key: "${ANTHROPIC_API_KEY}"
      models:
        - claude-3-haiku
        - claude-3-sonnet
        - claude-3-opus

    ollama:
      base_url: "http://localhost:11434"
      models:
        - llama2
        - codellama
        - mistral
      timeout: 120
"""

KEYS = {"OPENAI_API_KEY": "sk-openai-0123456789", "ANTHROPIC_API_KEY": "sk-ant-0123456789"}


class Settings:
    """What the application's own settings hold."""

    ollama_base_url = "http://ollama.internal:11434"
    anthropic_api_key = "sk-ant-0123456789"
    openai_api_key = "sk-openai-0123456789"


def _ollama(name: str, model: str) -> dict[str, object]:
    return {
        "model_name": name,
        "litellm_params": {"model": model, "api_base": Settings.ollama_base_url},
    }


def _anthropic(name: str) -> dict[str, object]:
    return {
        "model_name": name,
        "litellm_params": {
            "model": "anthropic/claude-sonnet-4-20250514",
            "api_key": Settings.anthropic_api_key,
        },
    }


def _openai(name: str) -> dict[str, object]:
    return {
        "model_name": name,
        "litellm_params": {"model": "openai/gpt-4o", "api_key": Settings.openai_api_key},
    }


FIVE_GROUPS = [
    _ollama("local", "ollama/qwen3:32b"),
    _ollama("fast", "ollama/qwen3:32b"),
    _ollama("economy", "ollama/qwen3:32b"),
    _ollama("balanced", "ollama/qwen3:32b"),
    _anthropic("balanced"),
    _anthropic("quality"),
    _openai("quality"),
]
FIVE_FALLBACKS = [{"quality": ["fast"]}, {"balanced": ["fast"]}]

TWO_GROUPS = [_ollama("fast", "ollama/qwen3:8b"), _anthropic("quality"), _openai("quality")]
TWO_FALLBACKS = [{"quality": ["fast"]}]
