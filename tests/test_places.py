"""Places that others prepared are refused and left alone; what the server makes is for its user only."""
import os
import stat

import pytest

from conftest import Server, run_cli

SIM = ("--devices", "sim:h100", "--max-model-len", "128")


def mode(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def serve(folder):
    return run_cli("serve", "--port", "0", "--data-dir", str(folder), *SIM)


@pytest.mark.parametrize("open_mode", [0o1777, 0o777, 0o770, 0o2775])
def test_a_data_folder_that_others_may_write_to_is_refused_and_left(tmp_path, open_mode):
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(open_mode)
    ended = serve(folder)
    assert ended.returncode == 2, ended.stderr
    assert "--data-dir: others may write to the folder" in ended.stderr
    assert mode(folder) == open_mode
    assert list(folder.iterdir()) == []


def test_links_at_known_names_are_not_followed(tmp_path):
    victim = tmp_path / "victim"
    for name in ("journal.db", "journal.db.lock", "journal.db-wal", "control.events"):
        victim.write_text("kept")
        folder = tmp_path / ("data-" + name)
        folder.mkdir(mode=0o700)
        (folder / name).symlink_to(victim)
        if name == "control.events":  # The last start's is moved away, link or not, and a new one is made.
            server = Server(*SIM, data_dir=str(folder))
            server.stop()
            server.close()
            assert not (folder / name).is_symlink()
        else:
            ended = serve(folder)
            assert ended.returncode != 0 and "is a link" in ended.stderr, ended.stderr
        assert victim.read_text() == "kept"


def test_what_the_server_makes_is_for_its_user_only(tmp_path):
    before = os.umask(0)
    try:
        server = Server(*SIM, data_dir=str(tmp_path / "deep" / "data"))
    finally:
        os.umask(before)
    try:
        server.post("/api/v1/predict", {"text": "x", "max_length": 4})
        server.post("/v1/files", files={"file": ("a.jsonl", b"{}\n")}, data={"purpose": "batch"})
        found = [os.path.join(top, name) for top, folders, files in os.walk(tmp_path / "deep") for name in folders + files]
        assert len(found) > 5
        assert {path: oct(mode(path)) for path in found if mode(path) & 0o077} == {}
        server.stop()
    finally:
        server.close()
