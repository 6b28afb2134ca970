"""Secrets: what is one, and how a configuration names it without holding it.

In the place of a secret a configuration has a reference to an environment variable, `${oc.env:NAME}`: the
user's own, or one that is set here and that the processes of the run inherit. The value itself is put in when
a part is made (config/instantiate.py), and stands nowhere before.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainer_cli.config.errors import UserError

VARIABLE = "TRAINER_CLI_SECRET_"
"""What the variables that are set here begin with; the key follows."""

MASK = "***"
"""What stands in a text for a secret of which nothing more is known."""

WORDS = (
    r"password|passwd|passphrase|pass_?code|secret|credential|webhook|cookie|session_?id|connection_?string"
    r"|(api|access|private|account|storage|encryption|signing|ssh|license|service|shared|deploy|master)_?key"
    r"|authorization|private_?pem"
)
NAME = re.compile(
    rf"{WORDS}|(?<!\w)token$|_token$|(access|api|auth|bearer|hf|hub|refresh|session)token$"
    r"|(?<![a-z])(auth|bearer|dsn|jwt|otp|pat|pin|pwd|sas|session|signature)$"
)
PLAIN_NAME = re.compile(rf"({WORDS}|(?<![a-z])(pwd|pin|otp))s?$")
"""Names whose value is a secret even where it is a number."""

OF_TEXT = re.compile(
    r"(?<![a-z])(additional|assistant|audio|begin|blank|bos|break|cls|code|decoder|delimiter|end|eod"
    r"|eos|fake|fill|first|forced|global|image|img|lang|language|last|line|mask|middle|modality"
    r"|new|newline|next|pad|padding|patch|per|phone|placeholder|prefix|python|query|question"
    r"|separator|sep|space|special|speech|split|start|stop|suffix|system|thumbnail|tile|to|tool"
    r"|unk|utterance|video|vision|word"
    r"|bo[a-su-z]|eo[a-z])(_start|_end|_label|_bos|_eos)?_token$"
)
"""Tokens that a tokenizer has, which are nobody's secret."""

SHAPE = re.compile(
    r"(?<![A-Za-z0-9])("
    r"(hf|api_org)_[A-Za-z0-9]{20,}"  # Hugging Face
    r"|sk-(?=[\w-]*[0-9])(?=[\w-]*[A-Za-z])(?![a-z-]*$)(?:(?:proj|ant|or|lf|svcacct|admin)-[\w-]{16,}"
    r"|(?=[\w-]*[A-Z])[\w-]{20,}|[0-9a-f]{32,})"  # OpenAI, Anthropic, OpenRouter, Langfuse
    r"|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}"
    r"|gl(pat|dt|rt|cbt|ptt|ft|agent|oas|soat)-[A-Za-z0-9_-]{16,}"  # GitLab
    r"|(AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}"  # AWS
    r"|AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,}"  # Google
    r"|xox[a-z]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{20,}"
    r"|hooks\.slack\.com/(services|workflows|triggers)/[\w/-]+"
    r"|(?:ptb\.|canary\.)?discord(app)?\.com/api/webhooks/[\w/-]+|\w+\.webhook\.office\.com/[\w/@-]+"
    r"|[MNO][A-Za-z0-9_-]{23,}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,}"  # Discord
    r"|\d{8,10}:AA[A-Za-z0-9_-]{30,}"  # Telegram
    r"|[sr]k_(live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/=]{20,}"  # Stripe
    r"|(SK|AC)[0-9a-f]{32}(?![0-9a-f])"  # Twilio
    r"|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"  # SendGrid
    r"|key-[0-9a-f]{32}|[0-9a-f]{32}-us\d{1,2}(?!\w)"  # Mailgun, Mailchimp
    r"|npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{30,}|rubygems_[0-9a-f]{40,}|dckr_(pat|oat)_[A-Za-z0-9_-]{20,}"
    r"|do[opr]_v1_[0-9a-f]{40,}|dapi[0-9a-f]{32}(-\d)?"  # DigitalOcean, Databricks
    r"|hv[sbr]\.[A-Za-z0-9_-]{20,}|s\.(?=[A-Za-z]*[0-9])[A-Za-z0-9]{24}(?!\w)"  # Vault
    r"|lin_(api|oauth)_[A-Za-z0-9]{30,}|secret_[A-Za-z0-9]{40,}|ntn_[A-Za-z0-9]{30,}"  # Linear, Notion
    r"|r8_[A-Za-z0-9]{30,}|gsk_[A-Za-z0-9]{30,}|xai-[A-Za-z0-9]{30,}|pplx-[A-Za-z0-9]{30,}"
    r"|fw_(?=[A-Za-z]*[0-9])[A-Za-z0-9]{20,}|nvapi-[A-Za-z0-9_-]{30,}|wandb_v1_[A-Za-z0-9_-]{20,}|tgp_v1_[A-Za-z0-9_-]{20,}"
    r"|shp(at|ca|pa|ss)_[0-9a-fA-F]{32}|sq0(atp|csp|idp)-[A-Za-z0-9_-]{20,}|EAA[A-Za-z0-9]{60,}"
    r"|(cfut|cfat|cfk)_[A-Za-z0-9_-]{30,}|v1\.0-[0-9a-f]{24}-[0-9a-f]{100,}"  # Cloudflare
    r"|NRAK-[A-Z0-9]{27}|glsa_[A-Za-z0-9]{32}_[0-9a-f]{8}|sntrys_[A-Za-z0-9_=+/-]{20,}|PMAK-[0-9a-f-]{40,}"
    r"|figd_[A-Za-z0-9_-]{30,}|pat[A-Za-z0-9]{14}\.[0-9a-f]{60,}|ATATT3[A-Za-z0-9_=-]{50,}|pul-[0-9a-f]{40}"
    r"|AGE-SECRET-KEY-1[A-Z0-9]{50,}|tskey-[a-z]+-[A-Za-z0-9-]{20,}|dp\.(pt|st|ct)\.[A-Za-z0-9._-]{40,}"
    r"|eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*|eyJ[A-Za-z0-9+/_-]{60,}=*"  # JWT, Neptune
    r"|(?i:(?<=bearer )|(?<=basic ))[A-Za-z0-9._~+/-]{16,}=*"
    r"|(?<=://)[^\s/:@]*:[^\s/@]+(?=@)"
    r"|(?i:(?<=[?&;]sig=)|(?<=accountkey=)|(?<=sharedaccesskey=)|(?<=x-amz-signature=)|(?<=[?&;]pwd=)"
    r"|(?<=[?&;]password=)|(?<=[?&]token=)|(?<=[?&]key=)|(?<=[?&]api_key=)|(?<=[?&]apikey=)|(?<=[?&]access_token=))"
    r"[^\s;&\"'$*{]{6,}"
    r"|(?i:(?<=aws_secret_access_key=)|(?<=aws_secret_access_key = ))[A-Za-z0-9/+]{40}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY( BLOCK)?-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY( BLOCK)?-----|\Z)"
    r")"
)
"""Tokens known by their looks; a URL's login, a connection string's key, a private key."""

HINT = re.compile(rf"{SHAPE.pattern}|(?i:{WORDS}|token|pwd|dsn|jwt|auth)")
"""What a text has that may hold a secret in a mapping or list."""

FROM_ENVIRONMENT = re.compile(r"\$\{oc\.env:\s*(\w+)")

SHORTEST = 6
"""Characters of a value that is looked for in other texts: shorter ones stand there by chance."""


class Secret(str):
    """A text that refers to a secret, as a configuration has it."""

    __slots__ = ()


def is_secret_name(name: str) -> bool:
    """Whether what has this name, the last part of a key or an environment variable's, is a secret."""
    name = name.lower()
    return bool(NAME.search(name)) and not OF_TEXT.search(name)


def is_secret(name: str, value: Any) -> bool:
    """Whether a value is one by its name or by its own looks; only text is, or the number of a password."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return bool(PLAIN_NAME.search(name.lower()))
    if not isinstance(value, str) or not value:
        return False
    is_marked = re.fullmatch(r"<.*>|\[.*\]", value)  # <pad>, [MASK]
    return bool(SHAPE.search(value)) or (is_secret_name(name) and not is_marked)


def hidden(
    config: dict[str, Any], written: Mapping[Any, Any], variables: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """A resolved configuration with references in the place of secrets, and of all text that contains one.

    `written` is the configuration with its interpolations: text that reads the environment alone stays.
    `variables` are those that a key's value was read from.
    """
    items = list(leaves(config))
    raw = {key: value for key, _, value in leaves(written) if isinstance(value, str)}
    given = {key for key, names in variables.items() if any(map(is_secret_name, names))}
    found = {key: str(value) for key, name, value in items if key in given or is_secret(name, value)}
    values = [value for value in found.values() if len(value) >= SHORTEST]
    texts = {key: value for key, name, value in items if isinstance(value, str) and name != "_target_"}
    found |= {key: text for key, text in texts.items() if any(value in text for value in values)}
    references = {}
    for key, text in found.items():
        reference, own = export(key, text), raw.get(key, "")
        count = len(FROM_ENVIRONMENT.findall(own))
        references[key] = Secret(own) if count and count == own.count("${") else reference
    result = _replaced(config, "", references)
    assert isinstance(result, dict)
    return result


def leaves(node: Any, key: str = "", name: str = "") -> Iterator[tuple[str, str, Any]]:
    """Every value that is no mapping or list: its dotted key, the name that it is judged by, and itself."""
    if isinstance(node, Mapping):
        # All that is below `credentials` is secret, but not what is below a part that is called so.
        inherited = name if is_secret_name(name) and "_target_" not in node else ""
        for item, value in node.items():
            yield from leaves(value, f"{key}.{item}" if key else str(item), inherited or str(item))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from leaves(value, f"{key}.{index}", name)
    else:
        yield key, name, node


def _replaced(node: Any, key: str, references: Mapping[str, str]) -> Any:
    if isinstance(node, Mapping):
        return {
            item: _replaced(value, f"{key}.{item}" if key else str(item), references)
            for item, value in node.items()
        }
    if isinstance(node, list):
        return [_replaced(value, f"{key}.{index}", references) for index, value in enumerate(node)]
    return references.get(key, node)


def export(key: str, value: str) -> Secret:
    """Have this process and those that it starts know the value; what refers to it."""
    base = name = VARIABLE + re.sub(r"\W", "_", key.replace(".", "__")).upper()
    number = 1
    while os.environ.get(name, value) != value:
        number += 1
        name = f"{base}_{number}"
    os.environ[name] = value
    return Secret(f"${{oc.env:{name}}}")


def exported() -> dict[str, str]:
    """The variables that were set here."""
    return {name: value for name, value in os.environ.items() if name.startswith(VARIABLE)}


def missing(key: str, error: str) -> str | None:
    """What to do where a configuration refers to a secret that is not known here; None for another error."""
    if VARIABLE not in error:
        return None
    return f"give it again: {key}=…\nor name a variable that has it: '{key}=${{oc.env:NAME}}'"


def revealed(config: Any) -> Any:
    """The configuration with the secrets themselves."""
    if isinstance(config, Mapping):
        return {name: revealed(value) for name, value in config.items()}
    if isinstance(config, list):
        return [revealed(value) for value in config]
    return _read_from_environment(config) if isinstance(config, Secret) else config


def _read_from_environment(secret: Secret) -> Any:
    from omegaconf import OmegaConf  # which takes longer than many a verb

    return OmegaConf.create([str(secret)])[0]


def veiled(config: Any) -> Any:
    """The configuration with the same mask for every secret: which one it is, is no part of what a run is."""
    if isinstance(config, Mapping):
        return {name: veiled(value) for name, value in config.items()}
    if isinstance(config, list):
        return [veiled(value) for value in config]
    return MASK if isinstance(config, Secret) else config


def to_show(name: str, value: Any) -> Any:
    """What a file says, with a mask in the place of secrets; `name` is the last part of its key."""
    items = leaves(value, name, name)
    shown = {at: MASK for at, word, leaf in items if is_secret(word, leaf) and "${" not in str(leaf)}
    return _replaced(value, name, shown) if shown else value


def hide_words(words: Sequence[str]) -> list[str]:
    """A command line whose overrides refer to their secrets; raises UserError for a sweep over some."""
    return [_hide_word(word) for word in words]


def _hide_word(word: str) -> str:
    before, equals, text = word.partition("=")
    key = before.lstrip("+")
    name = key.rpartition(".")[2]
    if not equals or key.startswith("-") or not (is_secret_name(name) or HINT.search(text)):
        return word
    value = _read(word, text)
    if is_secret(name, value) and "${" in text:
        # Where it was given as it is before, the run's file refers to the variable that is set here.
        variable = re.fullmatch(r"\$\{oc\.env:(\w+)\}", str(value))
        if variable and variable[1] in os.environ:
            export(key, os.environ[variable[1]])
        return word
    if is_secret(name, value):
        return f"{before}={export(key, value if isinstance(value, str) else text)}"
    if isinstance(value, Mapping | list):
        found = [(at, str(item)) for at, name, item in leaves(value, key, name) if is_secret(name, item)]
        for at, secret in sorted(found, key=lambda item: len(item[1]), reverse=True):
            if "${" not in secret:
                text = text.replace(secret, export(at, secret))
    return f"{before}={text}"


def _read(word: str, text: str) -> Any:
    """The value of an override; its text where it cannot be read. Raises UserError for a sweep of secrets."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(word)
    except HydraException:
        return text
    if not override.is_sweep_override():
        return override.value()
    key = override.key_or_group
    if is_secret(key.rpartition(".")[2], text):
        quoted = f"\"{word.partition('=')[0]}='…'\""
        raise UserError(
            f"{key} is a secret, and cannot be swept over",
            right=f"one value that has commas in it is put in quotes, twice for the shell: {quoted}",
        )
    return None


_REFERRED: set[str] = set()
"""The environment variables that a configuration has read."""


def refer_to(variable: str) -> None:
    """Have a variable's value stand in no text, as a configuration reads it."""
    _REFERRED.add(variable)


def masked(text: str) -> str:
    """The text without what looks like a secret, and without the value of any variable that is called one.

    What the configuration reads from another variable is named instead.
    """
    for value, mask in sorted(_known().items(), key=lambda item: len(item[0]), reverse=True):
        text = text.replace(value, mask)
    return SHAPE.sub(MASK, text)


def _known() -> dict[str, str]:
    """Texts of the environment that are not to be said, and what is said instead; a path is said."""
    found = {}
    for name, value in os.environ.items():
        is_secret = is_secret_name(name)
        if len(value) < SHORTEST or not (is_secret or name in _REFERRED):
            continue
        if name.startswith(VARIABLE) or value[0] not in "/~.":
            found[value] = MASK if is_secret else f"${{oc.env:{name}}}"
    return found
