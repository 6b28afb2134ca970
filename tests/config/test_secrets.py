"""What a secret is, and that a configuration refers to it without holding it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import transformers

import trainer_cli.config.places
from trainer_cli.config import schema
from trainer_cli.config.compose import compose, dump, load
from trainer_cli.config.environment import as_written
from trainer_cli.config.errors import UserError
from trainer_cli.config.hugging_face import ARGUMENTS
from trainer_cli.config.instantiate import instantiate
from trainer_cli.config.resume import differences
from trainer_cli.config.secrets import VARIABLE, Secret, hide_words, is_secret, is_secret_name, masked
from trainer_cli.runs.record import identity

TOKEN = "hf_" + "aB3dE5" * 6
BASE = ("model=mlp", "model.in_features=2", "model.out_features=2", "loss=cross_entropy", "data=python")
PART = "+callbacks.up._target_=uploads.Uploads"
KEY = "callbacks.up.api_key"
OWN = f"{VARIABLE}CALLBACKS__UP__API_KEY"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with a part that takes secrets; what the test sets in the environment goes with it."""
    before = dict(os.environ)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "uploads.py").write_text(
        "class Uploads:\n"
        "    def __init__(self, api_key: str | None, note: str = '', more: object = None) -> None:\n"
        "        self.given = api_key, note, more\n"
    )
    yield tmp_path
    for name in os.environ.keys() - before.keys():
        del os.environ[name]


def config(*words: str) -> dict[str, Any]:
    """What `trainer-cli WORDS` composes."""
    return compose([*BASE, PART, *hide_words(words)]).config


def given(composed: dict[str, Any]) -> Any:
    """What the part is made with."""
    return instantiate("callbacks.up", composed["callbacks"]["up"]).given


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("token", "x"),
        ("hub_token", "x"),
        ("authToken", "x"),
        ("api_key", "x"),
        ("apiKey", "x"),
        ("password", "x"),
        ("password", 12345),
        ("client_secret_value", "x"),
        ("aws_secret_access_key", "x"),
        ("note", TOKEN),
        ("note", "sk-proj-A1bcdefghijklmnopqrstuv"),
        ("note", "ghp_" + "a1B2" * 9),
        ("note", "AKIA" + "ABCD" * 4),
        ("header", "Authorization: Bearer abcdefghijklmnop123"),
        ("url", "https://somebody:open@example.org/data"),
    ],
)
def test_it_is_told_by_its_name_or_its_looks(name: str, value: Any) -> None:
    assert is_secret(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pad_token", "x"),
        ("eos_token", "x"),
        ("decoder_start_token", "x"),
        ("additional_special_token", "x"),
        ("speaker_token", "<speaker>"),
        ("token", "[SEP]"),
        ("tokenizer", "bert"),
        ("max_tokens", 5),
        ("num_token", 5),
        ("password_length", 8),
        ("token", None),
        ("token", True),
        ("token", ""),
        ("key", "x"),
        ("note", "hf_internal_testing/tiny_random_model_of_the_hub"),
        ("note", "sk-learn-like-estimators-in-a-row"),
        ("url", "https://example.org:8080/data"),
    ],
)
def test_what_is_none(name: str, value: Any) -> None:
    assert not is_secret(name, value)


@pytest.mark.parametrize(
    ("word", "secret"),
    [
        (f"+{KEY}=sesame-open", "sesame-open"),
        (f"+{KEY}='se same, open'", "se same, open"),
        (f"+{KEY}=se same(,", "se same(,"),
        ("+callbacks.up.password=0123456", "0123456"),
        (f"+callbacks.up.note={TOKEN}", TOKEN),
        ("+callbacks.up={_target_: uploads.Uploads, api_key: sesame-open, note: x}", "sesame-open"),
        ("+callbacks.up.more=[{password: sesame-open}]", "sesame-open"),
        (f"+callbacks.up.more=[a,{TOKEN}]", TOKEN),
    ],
)
def test_a_command_line_refers_to_it(word: str, secret: str) -> None:
    (hidden,) = hide_words([word])
    assert secret not in hidden and VARIABLE in hidden
    assert secret in [value for name, value in os.environ.items() if name.startswith(VARIABLE)]
    assert hide_words([hidden]) == [hidden]


@pytest.mark.parametrize(
    "word",
    [
        "rerun",
        "--config-dir=secret",
        "optim.lr=1e-3",
        f"{KEY}=null",
        f"{KEY}=${{oc.env:MINE}}",
        "~callbacks.up",
        "data.sep_token=x",
        "+recipe=secret",
        "+callbacks.up.note=the token",
    ],
)
def test_other_words_stay_as_they_are(word: str) -> None:
    before = dict(os.environ)
    assert hide_words([word]) == [word]
    assert before == dict(os.environ)


def test_a_sweep_over_secrets_is_refused() -> None:
    with pytest.raises(UserError, match="cannot be swept over") as caught:
        hide_words([f"+{KEY}=sesame,open"])
    assert "sesame" not in caught.value.block()


def test_two_values_of_one_key_have_a_variable_each() -> None:
    words = hide_words([f"+{KEY}=sesame-one", f"+{KEY}=sesame-two"])
    assert words == [f"+{KEY}=${{oc.env:{OWN}}}", f"+{KEY}=${{oc.env:{OWN}_2}}"]


def test_the_part_gets_the_value_and_no_file_does(folder: Path) -> None:
    composed = config(f"+{KEY}=sesame-open", "+callbacks.up.note=x")
    assert composed["callbacks"]["up"]["api_key"] == f"${{oc.env:{OWN}}}"
    dump(composed, folder / "config.yaml", "header")
    assert "sesame" not in (folder / "config.yaml").read_text()
    again = load(folder / "config.yaml", folders=[folder])
    assert again == composed and isinstance(again["callbacks"]["up"]["api_key"], Secret)
    assert given(composed) == given(again) == ("sesame-open", "x", None)


def test_a_variable_of_the_users_stays_the_users(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "sesame-open")
    composed = config(f"+{KEY}=${{oc.env:MINE}}")
    dump(composed, folder / "config.yaml", "header")
    assert "api_key: ${oc.env:MINE}\n" in (folder / "config.yaml").read_text()
    assert given(load(folder / "config.yaml", folders=[folder]))[0] == "sesame-open"


def test_a_variable_that_is_called_a_secret_is_one_wherever_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_TOKEN", "sesame-open")
    monkeypatch.setenv("MY_DATA", "/data")
    words = "+callbacks.up.note='as ${oc.env:MY_TOKEN}'", "+callbacks.up.more=${oc.env:MY_DATA}/x"
    composed = config(*words, f"+{KEY}=null")
    assert composed["callbacks"]["up"]["note"] == "as ${oc.env:MY_TOKEN}"
    # A run computes with what else is read from the environment; no file has it.
    assert composed["callbacks"]["up"]["more"] == "/data/x"
    assert as_written(composed)["callbacks"]["up"]["more"] == "${oc.env:MY_DATA}/x"
    assert given(composed) == (None, "as sesame-open", "/data/x")


def test_what_contains_it_is_one_too() -> None:
    composed = config(f"+{KEY}=sesame-open", "+callbacks.up.note='key: ${callbacks.up.api_key}'")
    assert "sesame" not in str(composed)
    assert given(composed) == ("sesame-open", "key: sesame-open", None)


def test_a_text_of_several_keys_is_given_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "se${same}")
    more = "+callbacks.up.more='${model.in_features} ${oc.env:MY_TOKEN}'"
    assert given(config(f"+{KEY}=null", more)) == (None, "", "2 se${same}")


def test_all_below_credentials_is_but_not_a_part_of_that_name() -> None:
    composed = config("+callbacks.up.more={credentials:{user:me,code:sesame}}", f"+{KEY}=null")
    assert "sesame" not in str(composed)
    named = compose(
        [*BASE, "+callbacks.secret={_target_: uploads.Uploads, api_key: null, note: open}"]
    ).config
    assert named["callbacks"]["secret"]["note"] == "open"


def test_text_that_looks_like_an_interpolation_reaches_the_part_as_it_is() -> None:
    composed = config(r"+callbacks.up.note='\${oc.env:HOME}'", f"+{KEY}=null")
    assert given(composed)[1] == "${oc.env:HOME}"


def test_one_in_a_file_is_hidden_and_warned_of(folder: Path) -> None:
    (folder / "recipes").mkdir()
    text = "# @package _global_\ncallbacks:\n  up:\n    _target_: uploads.Uploads\n    api_key: sesame-open\n"
    (folder / "recipes" / "mine.yaml").write_text(text)
    composition = compose([*BASE, "+recipe=mine"])
    assert "sesame" not in str(composition)
    assert given(composition.config)[0] == "sesame-open"
    assert composition.warnings == [
        f"{KEY} is a secret, and stands in recipes/mine.yaml:5; ${{oc.env:NAME}} there keeps it out"
    ]
    quiet = config("+recipe=mine", f"{KEY}=other-sesame")
    assert given(quiet)[0] == "other-sesame"


def test_which_one_it_is_is_no_part_of_what_a_run_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "sesame-open")
    one, other, third = (config(f"+{KEY}={value}") for value in ("sesame-open", "other", "${oc.env:MINE}"))
    assert identity(one) == identity(other) == identity(third) != identity(config(f"+{KEY}=null"))
    assert not [*differences(one, other), *differences(one, third)]
    assert [key for key, *_ in differences(one, config(f"+{KEY}=null"))] == [KEY]


def test_a_run_that_has_forgotten_it_says_how_to_give_it_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump(config(f"+{KEY}=sesame-open"), folder / "config.yaml", "header")
    del os.environ[OWN]
    with pytest.raises(UserError) as caught:
        load(folder / "config.yaml", folders=[folder])
    assert f"{KEY} is a secret, and no file has it" in caught.value.block()
    assert f"{KEY}=${{oc.env:NAME}}" in caught.value.block()
    monkeypatch.setenv("MINE", "sesame-mine")
    hide_words([f"{KEY}=${{oc.env:MINE}}"])
    assert given(load(folder / "config.yaml", folders=[folder]))[0] == "sesame-mine"


def test_texts_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "sesame-open")
    monkeypatch.setenv("SOME_TOKEN", "short")
    monkeypatch.setenv("SOME_CREDENTIALS", "/home/me/file")
    monkeypatch.setenv("HOME_PAGE", "example")
    text = f"401 for {TOKEN} or sesame-open; a short example in /home/me/file"
    assert masked(text) == "401 for *** or ***; a short example in /home/me/file"


AB, HEX = "aB3dE5gH" * 9, "0123456789abcdef" * 8
SHAPES = {
    "Hugging Face": f"hf_{AB[:34]}",
    "OpenAI": f"sk-{AB[:48]}",
    "OpenAI, project": f"sk-proj-{AB[:40]}_{AB[:8]}-x",
    "OpenAI, service": f"sk-svcacct-{AB[:40]}",
    "Anthropic": f"sk-ant-api03-{AB[:60]}-AA",
    "OpenRouter": f"sk-or-v1-{HEX[:64]}",
    "DeepSeek": f"sk-{HEX[:32]}",
    **{f"GitHub, {kind}": f"gh{kind}_{AB[:36]}" for kind in "pousr"},
    "GitHub, fine-grained": f"github_pat_{AB[:22]}_{AB[:59]}",
    "GitLab": f"glpat-{AB[:20]}",
    "GitLab, runner": f"glrt-{AB[:20]}",
    **{f"Slack, {kind}": f"xox{kind}-12345678901-{AB[:24]}" for kind in "abeprs"},
    "Slack, app": f"xapp-1-A0123-456-{HEX[:64]}",
    "Slack, webhook": f"hooks.slack.com/services/T0/B0/{AB[:24]}",
    "Discord, webhook": f"discord.com/api/webhooks/123456/{AB[:60]}",
    "Discord, bot": f"M{AB[:25]}.{AB[:6]}.{AB[:38]}",
    "Telegram": f"123456789:AA{AB[:33]}",
    "AWS": "AKIA" + "ABCD" * 4,
    "AWS, temporary": "ASIA" + "ABCD" * 4,
    "Google": f"AIza{AB[:35]}",
    "Google, OAuth": f"ya29.{AB[:60]}",
    "Google, client": f"GOCSPX-{AB[:28]}",
    "Stripe": f"sk_live_{AB[:24]}",
    "Stripe, restricted": f"rk_live_{AB[:24]}",
    "Stripe, webhook": f"whsec_{AB[:32]}",
    "Twilio": f"SK{HEX[:32]}",
    "SendGrid": f"SG.{AB[:22]}.{AB[:43]}",
    "Mailgun": f"key-{HEX[:32]}",
    "Mailchimp": f"{HEX[:32]}-us12",
    "npm": f"npm_{AB[:36]}",
    "PyPI": f"pypi-AgEIcHlwaS5vcmc{AB[:60]}",
    "Docker": f"dckr_pat_{AB[:27]}",
    "DigitalOcean": f"dop_v1_{HEX[:64]}",
    "Databricks": f"dapi{HEX[:32]}",
    "Vault": f"hvs.{AB[:24]}",
    "Linear": f"lin_api_{AB[:40]}",
    "Notion": f"ntn_{AB[:46]}",
    "Notion, older": f"secret_{AB[:43]}",
    "Replicate": f"r8_{AB[:37]}",
    "Groq": f"gsk_{AB[:52]}",
    "xAI": f"xai-{AB[:70]}",
    "Perplexity": f"pplx-{AB[:48]}",
    "Fireworks": f"fw_{AB[:24]}",
    "NVIDIA": f"nvapi-{AB[:64]}",
    "W&B": f"wandb_v1_{AB[:40]}",
    "Shopify": f"shpat_{HEX[:32]}",
    "Square": f"sq0atp-{AB[:22]}",
    "Cloudflare": f"cfut_{AB[:40]}",
    "New Relic": "NRAK-" + "ABC" * 9,
    "Grafana": f"glsa_{AB[:32]}_{HEX[:8]}",
    "Postman": f"PMAK-{HEX[:24]}-{HEX[:34]}",
    "Figma": f"figd_{AB[:40]}",
    "Airtable": f"pat{AB[:14]}.{HEX[:64]}",
    "Atlassian": f"ATATT3{AB[:60]}",
    "JWT": f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx{AB[:8]}.{AB[:43]}",
    "Neptune": "eyJhcGlfYWRkcmVzcyI6Imh0dHBz" + AB,
    "a header": f"Authorization: Bearer {AB[:20]}",
    "another header": f"authorization: basic {AB[:20]}=",
    "a URL": "postgresql://me:sesame-open@example.org/db",
    "a broker": "redis://:sesame-open@example.org:6379/0",
    "Azure, storage": f"DefaultEndpointsProtocol=https;AccountName=x;AccountKey={AB[:60]}==;EndpointSuffix=y",
    "Azure, SAS": f"https://x.blob.core.windows.net/y?sv=2022&sig={AB[:40]}%3D",
    "Azure, bus": f"Endpoint=sb://x/;SharedAccessKeyName=y;SharedAccessKey={AB[:40]}=",
    "ODBC": "Server=x;Database=y;Uid=me;Pwd=sesame-open;",
    "a query": "https://example.org/?api_key=sesame-open",
    "AWS, presigned": f"https://x.s3.amazonaws.com/y?X-Amz-Signature={HEX[:64]}",
    "AWS, a file": f"aws_secret_access_key = {AB[:40]}",
    "a private key": f"-----BEGIN OPENSSH PRIVATE KEY-----\n{AB}\n-----END OPENSSH PRIVATE KEY-----",
    "a service account": '{"type": "service_account", "key": "-----BEGIN PRIVATE KEY-----\\nMII'
    f'{AB}\\n-----END PRIVATE KEY-----"}}',
}


@pytest.mark.parametrize("of", SHAPES)
def test_a_token_is_known_by_its_looks(of: str) -> None:
    text = SHAPES[of]
    assert is_secret("note", text)
    said = masked(f"it said: {text} (401)")
    assert AB[:9] not in said and HEX[:9] not in said and "sesame" not in said
    assert said.startswith("it said: ") and said.endswith("(401)")
    (hidden,) = (
        hide_words([f"+callbacks.up.note='{text}'"]) if "'" not in text and "\n" not in text else ("",)
    )
    assert AB[:9] not in hidden and HEX[:9] not in hidden and "sesame" not in hidden


NAMES = """
    SLACK_WEBHOOK WEBHOOK_URL slack_webhook_url COOKIE cookies SESSION session_id PASSPHRASE
    PGPASSWORD MYSQL_PWD db_passwd DATABASE_DSN SENTRY_DSN connection_string
    AZURE_STORAGE_CONNECTION_STRING PRIVATE_KEY SSH_PRIVATE_KEY AWS_SECRET_ACCESS_KEY
    AWS_ACCESS_KEY_ID AWS_SESSION_TOKEN AZURE_STORAGE_KEY AZURE_STORAGE_SAS_TOKEN sas GITHUB_PAT
    GH_TOKEN HF_TOKEN HUGGING_FACE_HUB_TOKEN jwt bearer BASIC_AUTH proxy_auth signature
    GOOGLE_APPLICATION_CREDENTIALS WANDB_API_KEY COMET_API_KEY NEPTUNE_API_TOKEN
    CLEARML_API_SECRET_KEY OPENAI_API_KEY DOCKER_PASSWORD NPM_TOKEN TWINE_PASSWORD client_secret
    refresh_token bot_token accessToken authToken signing_key encryption_key license_key otp pin
    authorization
"""


@pytest.mark.parametrize("name", NAMES.split())
def test_a_secret_is_known_by_its_name(name: str) -> None:
    assert is_secret_name(name) and is_secret(name, "x")


SECTIONS = (*schema.TYPED.values(), *schema.STRATEGIES.values())
FIELDS = [*schema.ORDER, *(name for section in SECTIONS for name in schema.kinds(section))]


def test_no_field_of_a_configuration_is_taken_for_one() -> None:
    """What is found in the places where such fields come from, less what is one or holds its marks `<…>`."""
    root = Path(transformers.__file__).parent
    files = [*root.glob("models/*/configuration_*.py"), root / "training_args.py"]
    names = {name for file in files for name in re.findall(r"(?m)^    (\w+)\s*:", file.read_text())}
    names |= set(FIELDS) | set(ARGUMENTS)
    mine = Path(trainer_cli.config.places.builtin().configs)
    texts = "".join(file.read_text() for file in mine.rglob("*.yaml"))
    names |= set(re.findall(r"(?m)^\s*(\w+):", texts))
    assert len(names) > 1000 and {"num_key_value_heads", "pad_token_id"} <= names
    assert {name for name in names if is_secret_name(name)} <= {"hub_token", "push_to_hub_token"}


@pytest.mark.parametrize(
    "text",
    [
        "3f786850e387550fdaac6db6f7b2f0c6f7b2f0c6",  # a commit
        HEX[:64],  # a fingerprint
        "20261201-020000-abcd",
        "lr-and-seeds_0123456789ab",
        "facebook/opt-125m",
        "meta-llama/Llama-3.2-1B",
        "https://huggingface.co/datasets/x/resolve/main/a.jsonl?download=true",
        "s3://bucket/key/file.parquet",
        "trainer_cli.loss.ModelLoss",
        "/data/secret_projects/rows.jsonl",
        "token_type_ids",
        "pad_token",
        "sk-learn-like-estimators-in-a-row",
        "api_key=os.environ['X']",
        "password=getpass.getpass()",
        "key-value-pairs-of-the-attention-layer",
    ],
)
def test_what_looks_like_none(text: str) -> None:
    assert not is_secret("note", text) and masked(text) == text
