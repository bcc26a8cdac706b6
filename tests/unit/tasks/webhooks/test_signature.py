"""Our signatures before the judges of the standard: its packages for Python and for node."""

import base64
import json
import shutil
import subprocess
import time
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tasks.errors import SignatureInvalid
from tasks.webhooks.signature import (
    ID_HEADER,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    decode_secret,
    sign,
    verify,
)

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(bytes(range(64))).decode()
BODY = '{"type":"job.completed","text":"Käse"}'.encode()
NOW = 1_800_000_000


def signed(secrets=(SECRET,), late_s=0, at=None):
    """Headers of a message of this moment, which is asked for anew: collecting all tests can take minutes."""
    at = int(time.time()) + late_s if at is None else at
    return {ID_HEADER: "msg_1", TIMESTAMP_HEADER: str(at), SIGNATURE_HEADER: sign(secrets, "msg_1", at, BODY)}


def test_the_example_of_the_standard_comes_out():
    body = b'{"test": 2432232314}'

    assert (
        sign([SECRET], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


@pytest.mark.parametrize("secret", [SECRET, OTHER])
def test_the_official_package_accepts_ours(secret):
    assert Webhook(secret).verify(BODY.decode(), signed([secret])) == json.loads(BODY)


@pytest.mark.parametrize("secret", [SECRET, OTHER])
def test_a_receiver_with_either_secret_accepts_a_change_over(secret):
    headers = signed([SECRET, OTHER])

    assert headers[SIGNATURE_HEADER].count("v1,") == 2
    Webhook(secret).verify(BODY.decode(), headers)
    verify([secret], headers, BODY)


def test_ours_accepts_the_official_package_s():
    ours = signed(at=NOW)
    stamp = datetime.fromtimestamp(NOW, tz=UTC)
    theirs = ours | {SIGNATURE_HEADER: Webhook(SECRET).sign("msg_1", stamp, BODY.decode())}

    verify([OTHER, SECRET], theirs, BODY, now=NOW)
    assert ours == theirs


def spoilt():
    good = signed()
    return {
        "another body": (good, BODY + b" "),
        "another secret": (signed([OTHER]), BODY),
        "another id": (good | {ID_HEADER: "msg_2"}, BODY),
        "another time": (good | {TIMESTAMP_HEADER: str(int(good[TIMESTAMP_HEADER]) - 1)}, BODY),
        "too old": (signed(late_s=-360), BODY),
        "from the future": (signed(late_s=360), BODY),
        "another signature": (good | {SIGNATURE_HEADER: "v1," + base64.b64encode(bytes(32)).decode()}, BODY),
        "another version": (good | {SIGNATURE_HEADER: good[SIGNATURE_HEADER].replace("v1,", "v2,")}, BODY),
        "no signature": ({name: value for name, value in good.items() if name != SIGNATURE_HEADER}, BODY),
    }


@pytest.mark.parametrize("how", spoilt())
def test_what_is_spoilt_is_refused_by_us_and_by_the_official_package(how):
    headers, body = spoilt()[how]
    with pytest.raises(SignatureInvalid):
        verify([SECRET], headers, body)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body.decode(), headers)


@pytest.mark.parametrize("shown", ["v1,", "v1,***", "v1", ",", " ", "v1,ä", "v1," + "A" * 42])
def test_a_signature_that_is_none_is_refused(shown):
    with pytest.raises(SignatureInvalid):
        verify([SECRET], signed() | {SIGNATURE_HEADER: shown}, BODY)


@pytest.mark.parametrize("off_s", [-299, 299])
def test_clocks_may_differ_by_five_minutes(off_s):
    verify([SECRET], signed(at=NOW + off_s), BODY, now=NOW)
    further = NOW - 2 if off_s > 0 else NOW + 2
    with pytest.raises(SignatureInvalid):
        verify([SECRET], signed(at=NOW + off_s), BODY, now=further)


@pytest.mark.parametrize("stamp", ["", "nan", "1e9", "-5", "١٢", "9" * 40])
def test_a_time_that_is_none_is_refused(stamp):
    with pytest.raises(SignatureInvalid):
        verify([SECRET], signed() | {TIMESTAMP_HEADER: stamp}, BODY)


@pytest.mark.parametrize(
    "secret",
    ["", "secret", "whsec_", "whsec_***", "whsec_" + base64.b64encode(bytes(23)).decode(),
     "whsec_" + base64.b64encode(bytes(65)).decode(), SECRET.removeprefix("whsec_")],
)  # fmt: skip
def test_a_secret_that_is_none_is_refused_without_repeating_it(secret):
    with pytest.raises(ValueError, match="webhook secret") as caught:
        decode_secret(secret)
    assert len(secret) < 10 or secret[6:] not in str(caught.value)


def test_an_id_with_a_dot_is_not_signed():
    with pytest.raises(ValueError, match="id"):
        sign([SECRET], "msg.1", NOW, BODY)


JUDGE = """
const { Webhook } = require("standardwebhooks");
const cases = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(cases.map(([secret, headers, body]) => {
  try { new Webhook(secret).verify(body, headers); return "accepted"; }
  catch (error) { return error.message; }
})));
"""


@pytest.fixture(scope="session")
def node_package(tmp_path_factory):
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("node")
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder)]
    try:
        done = subprocess.run(
            [*install, "standardwebhooks@1.1.1"], capture_output=True, timeout=90, check=False, cwd=folder
        )
    except subprocess.TimeoutExpired:
        pytest.skip("npm gives no standardwebhooks")
    if done.returncode:
        pytest.skip("npm gives no standardwebhooks")
    return folder


def test_the_official_package_for_node_says_the_same(node_package):
    good = [(SECRET, signed()), (SECRET, signed([OTHER, SECRET])), (OTHER, signed([OTHER]))]
    cases = [(secret, headers, BODY) for secret, headers in good]
    cases += [(SECRET, headers, body) for headers, body in spoilt().values()]
    judged = subprocess.run(
        ["node", "-e", JUDGE],
        input=json.dumps([(secret, headers, body.decode()) for secret, headers, body in cases]),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=node_package,
    )
    verdicts = json.loads(judged.stdout)

    assert verdicts[: len(good)] == ["accepted"] * len(good)
    assert len(verdicts) == len(cases) and "accepted" not in verdicts[len(good) :]
