"""Pulling from a hub, through the hub's own library, over real connections."""

import hashlib
import json
import re
import threading

import pytest

from musetalk_core.errors import DiskFull, InputError, WeightsInvalid
from musetalk_core.model_registry.schema import File, Hub, Web
from tasks.errors import NotAvailable, PullFailed
from tasks.models import atomic_install
from tasks.models.hub import HubClient
from tasks.models.install import open_local_models, pull
from tasks.settings import get_settings
from tasks.storage.resumable_file import PartialFile


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def test_a_file_comes_whole_into_the_original_layout(hub, net, watch, left):
    body, _ = net

    came = pull(["net"], watch)

    assert came == [open_local_models().folder / "net" / "net.pth"]
    assert came[0].read_bytes() == body
    assert left() == ["net/net.pth"]
    assert watch.bytes == len(body)
    assert watch.lines == [f"begin net/net.pth {len(body)}", "end net/net.pth pulled"]
    assert open_local_models().find("net") == {"weights": came[0]}


def test_what_is_there_is_not_asked_for_again(hub, net, watch):
    pull(["net"], watch)
    hub.asked.clear()

    assert pull(["net"], watch) == []
    assert hub.asked == []


def test_its_hash_is_known_from_the_pull_and_never_read_again(hub, net, watch, monkeypatch):
    body, _ = net
    [path] = pull(["net"], watch)
    monkeypatch.setattr(
        "musetalk_core.model_registry.hash_cache.sha256_of", lambda *_: pytest.fail("read again")
    )

    assert open_local_models().hash_cache.sha256(path) == sha(body)
    origin = open_local_models().hash_cache.origin(path)
    assert origin is not None and origin.source == f"someone/net/net.pth@{hub.commit[:12]}"


def test_only_the_hub_sees_the_token_and_nobody_sees_what_is_installed(hub, net, watch, monkeypatch):
    monkeypatch.setenv("MUSETALK_WEIGHTS__TOKEN", hub.token)
    get_settings.cache_clear()
    hub.gated.add("someone/net")

    pull(["net"], watch)

    ours = [a for a in hub.asked if a.host.startswith("127.0.0.1")]
    storage = [a for a in hub.asked if a.host.startswith("localhost")]
    assert {a.headers.get("authorization") for a in ours} == {f"Bearer {hub.token}"}
    assert [a.headers.get("authorization") for a in storage] == [None]
    assert {a.headers["user-agent"] for a in hub.asked} == {"musetalk-flows"}
    assert [a.path for a in ours] == [
        "/someone/net/resolve/main/net.pth",
        f"/someone/net/resolve/{hub.commit}/net.pth",
    ]


def test_a_token_of_the_library_stays_away_from_a_hub_that_is_not_its_own(hub, net, watch, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "not-for-everybody")

    pull(["net"], watch)

    assert all("authorization" not in a.headers for a in hub.asked)


def test_a_line_that_breaks_is_taken_up_where_it_broke(hub, net, watch, left):
    body, served = net
    served.cut_after = [300_000, 200_000]

    [path] = pull(["net"], watch)

    assert path.read_bytes() == body
    assert hub.ranges("someone/net/net.pth") == [None, "bytes=300000-", "bytes=500000-"]
    assert hub.sent["someone/net/net.pth"] == len(body) == watch.bytes
    assert left() == ["net/net.pth"]


def test_after_too_many_breaks_the_next_pull_goes_on(hub, net, watch, left):
    body, served = net
    served.cut_after = [400_000] + [0] * 6

    with pytest.raises(PullFailed, match="it resumes the download"):
        pull(["net"], watch)
    [part] = left()
    assert re.fullmatch(r"net/net\.pth\.[0-9a-f]{12}\.part", part)
    assert not open_local_models().installed_models().count("net")

    served.cut_after = []
    [path] = pull(["net"], watch)

    assert path.read_bytes() == body
    assert hub.ranges("someone/net/net.pth")[-1] == "bytes=400000-"
    assert hub.sent["someone/net/net.pth"] == len(body)
    assert left() == ["net/net.pth"]


def test_a_part_of_other_content_is_thrown_away(hub, net, watch, left, torch_bytes):
    _, served = net
    served.cut_after = [400_000] + [0] * 6
    with pytest.raises(PullFailed):
        pull(["net"], watch)
    served.cut_after, served.body = [], torch_bytes(700_000, seed=1)

    [path] = pull(["net"], watch)

    assert path.read_bytes() == served.body
    assert hub.ranges("someone/net/net.pth")[-1] is None
    assert left() == ["net/net.pth"]


def test_a_server_without_ranges_is_read_from_the_start(hub, net, watch):
    body, served = net
    served.cut_after = [300_000]
    served.ranges = False

    [path] = pull(["net"], watch)

    assert path.read_bytes() == body
    assert watch.bytes == len(body)


def test_busy_answers_are_tried_again(hub, net, watch):
    body, served = net
    served.statuses = [503, 429, 502]

    [path] = pull(["net"], watch)

    assert path.read_bytes() == body


@pytest.mark.parametrize(("status", "kind"), [(401, NotAvailable), (404, NotAvailable), (418, PullFailed)])
def test_a_refusal_between_the_look_and_the_bytes_is_told(hub, net, tmp_path, status, kind):
    _, served = net
    client = HubClient(get_settings().weights)
    offer = client.probe(Hub("someone/net", "net.pth"))
    served.statuses = [503, status]

    with PartialFile(tmp_path / "x.part") as part, pytest.raises(PullFailed) as caught:
        client.fetch_into(part, offer, lambda _: None)

    assert type(caught.value) is kind


def test_what_is_recorded_of_a_file_is_compared_before_it_is_fetched(hub, net, record, watch, left):
    record("net", sha256="619a316812")

    with pytest.raises(WeightsInvalid, match="instead of 619a316812: it is a different file"):
        pull(["net"], watch)

    assert "someone/net/net.pth" not in hub.sent
    assert left() == []


def test_a_wrong_file_is_removed_and_told(hub, known, watch, left, torch_bytes):
    body = torch_bytes(5000)
    known("net", File("net/net.pth", "weights", Hub("a/b", "net.pth"), 1, sha256="619a316812"))
    hub.put("a/b/net.pth", body, large=False)

    with pytest.raises(WeightsInvalid, match=f"has the SHA-256 {sha(body)} instead of 619a316812"):
        pull(["net"], watch)

    assert left() == []


def test_bytes_that_are_not_those_the_hub_announced_are_removed(hub, net, watch, left):
    _, served = net
    served.etag = "0" * 64

    with pytest.raises(WeightsInvalid, match="instead of the announced 0000"):
        pull(["net"], watch)

    assert left() == []


def test_a_page_in_place_of_weights_is_removed(hub, known, watch, left):
    known("net", File("net/net.pth", "weights", Hub("a/b", "net.pth"), 1))
    hub.put("a/b/net.pth", b"<!doctype html><p>Sign in, please", large=False)

    with pytest.raises(WeightsInvalid, match="is not a file that torch wrote"):
        pull(["net"], watch)

    assert left() == []


def test_the_first_part_of_a_known_hash_is_enough(hub, net, record, watch):
    body, _ = net
    record("net", sha256=sha(body)[:10])

    assert len(pull(["net"], watch)) == 1


def test_a_missing_file_is_told_and_the_others_come(hub, net, known, watch):
    known("gone", File("gone/x.pth", "weights", Hub("a/gone", "x.pth"), 1))

    with pytest.raises(PullFailed, match=r"gone: .* has no a/gone/x\.pth .*--from FOLDER"):
        pull(["gone", "net"], watch)

    assert open_local_models().status("net").state == "installed"


def test_a_gated_file_names_the_setting_and_the_page(hub, net, watch):
    hub.gated.add("someone/net")

    with pytest.raises(PullFailed) as caught:
        pull(["net"], watch)

    assert "MUSETALK_WEIGHTS__TOKEN" in str(caught.value)
    assert "Accept its license on the page of someone/net" in str(caught.value)


def test_a_hub_that_is_not_there_is_told(home, known, watch, monkeypatch):
    monkeypatch.setattr("tasks.models.hub._RETRY_DELAYS_S", (0.01,))
    known("net", File("net/net.pth", "weights", Hub("a/b", "net.pth"), 1))

    with pytest.raises(PullFailed, match=r"The hub at http://127\.0\.0\.1:9 could not deliver a/b/net\.pth"):
        pull(["net"], watch)


def test_something_that_is_no_hub_is_told(hub, net, watch):
    hub.is_hub = False
    hub.files["someone/net/net.pth"].large = False

    with pytest.raises(PullFailed, match="is not a model hub"):
        pull(["net"], watch)


def test_without_room_nothing_is_fetched(hub, net, watch, left, monkeypatch):
    monkeypatch.setenv("MUSETALK_STORE__MIN_FREE_BYTES", str(10**18))
    get_settings.cache_clear()

    with pytest.raises(DiskFull, match="Free some space, or set MUSETALK_WEIGHTS__FOLDER"):
        pull(["net"], watch)

    assert hub.sent == {} and left() == []


def test_what_a_part_has_needs_no_room(hub, net, watch, monkeypatch):
    _, served = net
    served.cut_after = [400_000] + [0] * 6
    with pytest.raises(PullFailed):
        pull(["net"], watch)
    asked = []
    monkeypatch.setattr("tasks.models.install._require_room", lambda _, missing: asked.append(missing))

    pull(["net"], watch)

    assert asked == [600_000]


def test_two_pulls_at_once_fetch_a_file_once(hub, net, watch):
    body, served = net
    served.pause_s = 0.02
    results: list[int] = []
    both = [threading.Thread(target=lambda: results.append(len(pull(["net"], watch)))) for _ in range(2)]

    for thread in both:
        thread.start()
    for thread in both:
        thread.join()

    assert sorted(results) == [0, 1]
    assert "end net/net.pth was pulled by another process" in watch.lines
    assert hub.sent["someone/net/net.pth"] == len(body)


def test_the_first_set_that_is_offered_comes(hub, known, watch, left, torch_bytes):
    config = File("vae/config.json", "config", Hub("a/vae", "config.json"), 2)
    sets = tuple(
        (File(f"vae/w{suffix}", "weights", Hub("a/vae", f"w{suffix}"), 9),)
        for suffix in (".safetensors", ".bin")
    )
    known("vae", config, alternatives=sets)
    hub.put("a/vae/config.json", b"{}", large=False)
    hub.put("a/vae/w.bin", torch_bytes(2000))

    pull(["vae"], watch)

    assert left() == ["vae/config.json", "vae/w.bin"]


def test_a_set_that_was_begun_is_completed(hub, known, watch, left, torch_bytes):
    config = File("vae/config.json", "config", Hub("a/vae", "config.json"), 2)
    sets = tuple(
        (File(f"vae/w{suffix}", "weights", Hub("a/vae", f"w{suffix}"), 9),)
        for suffix in (".safetensors", ".bin")
    )
    known("vae", config, alternatives=sets)
    hub.put("a/vae/config.json", b"{}", large=False)
    mine = open_local_models().folder / "vae" / "w.bin"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(torch_bytes(50))

    pull(["vae"], watch)

    assert left() == ["vae/config.json", "vae/w.bin"]
    assert mine.read_bytes() == torch_bytes(50)


def test_what_a_model_needs_comes_along(hub, net, known, watch):
    known("top", File("top/t.json", "config", Hub("a/top", "t.json"), 2), needs=("net",))
    hub.put("a/top/t.json", json.dumps({"a": 1}).encode(), large=False)

    assert [path.name for path in pull(["top"], watch)] == ["t.json", "net.pth"]


def test_a_git_lfs_pointer_is_replaced(hub, net, watch):
    body, _ = net
    path = open_local_models().folder / "net" / "net.pth"
    path.parent.mkdir(parents=True)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")

    assert pull(["net"], watch) == [path]
    assert path.read_bytes() == body


def test_a_file_of_an_author_comes_from_his_site_under_the_rules_for_web_addresses(
    hub, known, watch, monkeypatch, torch_bytes
):
    body = torch_bytes(300_000)
    served = hub.put("s3fd.pth", body)
    served.cut_after = [100_000]
    there = Web(f"{hub.url}/storage/s3fd.pth")
    known("s3fd", File("s3fd/s3fd.pth", "weights", there, 1, sha256=sha(body)[:9]))

    with pytest.raises(PullFailed, match="--from FOLDER"):
        pull(["s3fd"], watch)
    monkeypatch.setenv("MUSETALK_EGRESS__ALLOWED_HOSTS", "127.0.0.1")
    monkeypatch.setenv("MUSETALK_EGRESS__ALLOW_HTTP", "true")
    get_settings.cache_clear()
    [path] = pull(["s3fd"], watch)

    assert path.read_bytes() == body
    assert "bytes=100000-" in hub.ranges("s3fd.pth")


def test_offline_mode_of_the_library_is_told(hub, net, watch, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    with pytest.raises(PullFailed, match="HF_HUB_OFFLINE is set"):
        pull(["net"], watch)


def test_an_unknown_name_lists_what_there_is(hub, watch):
    with pytest.raises(InputError, match=r"There is no model gpt. There are musetalk, .*dwpose"):
        pull(["gpt"], watch)


def test_a_crash_before_the_name_is_given_leaves_no_file(hub, net, watch, left, monkeypatch):
    body, _ = net
    with monkeypatch.context() as broken:
        broken.setattr(atomic_install, "_sync_to_disk", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            pull(["net"], watch)
    assert [name.rpartition(".")[2] for name in left()] == ["part"]

    pull(["net"], watch)

    assert left() == ["net/net.pth"]
    assert hub.sent["someone/net/net.pth"] == len(body)  # the part was whole
