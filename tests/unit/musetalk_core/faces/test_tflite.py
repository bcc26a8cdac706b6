"""The packaged networks: verified, and never shared between threads."""

import shutil
import threading

import pytest

from musetalk_core.errors import ModelNotInstalled
from musetalk_core.faces.tflite import BUNDLED_FOLDER, DETECTOR, MESH, load_network


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelNotInstalled, match=r"face_landmark\.tflite is missing"):
        load_network(MESH, tmp_path)


def test_a_changed_file_is_refused(tmp_path):
    content = bytearray((BUNDLED_FOLDER / DETECTOR.name).read_bytes())
    content[-1] ^= 1
    (tmp_path / DETECTOR.name).write_bytes(content)

    with pytest.raises(ModelNotInstalled, match="checksum differs"):
        load_network(DETECTOR, tmp_path)


def test_another_folder_may_hold_the_files(tmp_path):
    shutil.copy(BUNDLED_FOLDER / DETECTOR.name, tmp_path)

    assert load_network(DETECTOR, tmp_path) is not load_network(DETECTOR)


def test_a_thread_loads_a_network_once_and_shares_it_with_no_other():
    others = []
    thread = threading.Thread(target=lambda: others.append(load_network(DETECTOR)))
    thread.start()
    thread.join()

    assert load_network(DETECTOR) is load_network(DETECTOR)
    assert others[0] is not load_network(DETECTOR)
