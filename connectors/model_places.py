"""Where the models of a litellm.yaml stand: near, so that a live worker may ask them, or anywhere else. It opens no connection.

Near is this machine, a literal private address, and a name without dots, as compose gives them: no such name leads to somebody else's
server. What a file says beyond the settings below is not read into: it could lead elsewhere.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

SERVERS_OF_ONES_OWN = frozenset({"hosted_vllm", "llamafile", "lm_studio", "ollama", "ollama_chat", "openai"})
"""Providers, in litellm's words, that ask the server of `api_base`."""
READ = frozenset(
    {
        *("api_base", "api_key", "model", "timeout"),
        *("max_tokens", "num_ctx", "rpm", "seed", "stop", "temperature", "top_k", "top_p", "tpm"),
    }
)
"""Settings that cannot lead a call elsewhere."""
FROM_ENVIRONMENT = "os.environ/"


def resolved(params: Mapping[str, Any], *, environment: Mapping[str, str]) -> dict[str, Any]:
    """Put in what the file takes from the environment, as litellm does; what is not there is empty.

    >>> resolved({"api_base": "os.environ/HERE", "timeout": 5}, environment={"HERE": "http://ollama"})
    {'api_base': 'http://ollama', 'timeout': 5}
    """
    return {
        name: environment.get(value.removeprefix(FROM_ENVIRONMENT), "")
        if isinstance(value, str) and value.startswith(FROM_ENVIRONMENT)
        else value
        for name, value in params.items()
    }


def why_far(params: Mapping[str, Any]) -> str:
    """Why a live worker may not ask this model, empty where it may.

    >>> why_far({"model": "openai/x", "api_base": "http://127.0.0.1:8080/v1"})
    ''
    >>> why_far({"model": "anthropic/x", "api_key": "..."})
    'anthropic is not a server of your own'
    """
    if unread := sorted(params.keys() - READ):
        return f"{', '.join(unread)} could lead elsewhere"
    provider, slash, _ = str(params.get("model", "")).partition("/")
    if not slash or provider not in SERVERS_OF_ONES_OWN:
        return f"{provider or 'a model without a name'} is not a server of your own"
    base = params.get("api_base")
    if not base:
        return "it names no api_base"
    return (
        "" if is_near(str(base)) else "its api_base is neither this machine, a private address nor a name without dots"
    )


def is_near(url: str) -> bool:
    """Whether this address is of this machine, of a private network, or a name that no public server has.

    >>> is_near("http://ollama:11434"), is_near("http://10.0.0.7/v1"), is_near("https://api.example.org/v1")
    (True, True, False)
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme not in {"http", "https"} or not host or parts.username is not None or "\\" in url:
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # A number is an address, however it is written.
        return "." not in host and host.replace("-", "").replace("_", "").isalnum() and host[0].isalpha()
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    return address.is_loopback or (address.is_private and not address.is_unspecified and not address.is_reserved)


def why_no_key(params: Mapping[str, Any], *, environment: Mapping[str, str]) -> str:
    """Why this model cannot be asked even offline: the key of a model elsewhere is not set; empty where nothing stands against it."""
    if not why_far(params) or params.get("api_key"):
        return ""
    name = f"{str(params.get('model', '')).partition('/')[0].upper()}_API_KEY"
    return "" if environment.get(name) else f"{name} is not set"


def check(models: Sequence[Mapping[str, Any]], *, far: bool, environment: Mapping[str, str]) -> list[str]:
    """Say what stands against asking these models, a line each; `far`: whether those elsewhere may be asked."""
    found = []
    for one in models:
        params = resolved(one["litellm_params"], environment=environment)
        why = why_no_key(params, environment=environment) if far else why_far(params)
        if why:
            found.append(f"{one['model_name']}: {why}")
    return found
