"""Files that appear whole or not at all, through links, and what is no file."""

import os
import threading

import pytest

from rdasde._engine.store import write_whole


def test_a_file_is_replaced_where_a_link_leads(tmp_path):
    (tmp_path / "disk").mkdir()
    link, file = tmp_path / "link", tmp_path / "disk" / "file"
    link.symlink_to(file)
    for content in (b"first", b"second"):  # it dangles at first
        write_whole(link, lambda stream, content=content: stream.write(content))
        assert link.is_symlink()
        assert file.read_bytes() == content
    with pytest.raises(ZeroDivisionError):
        write_whole(link, lambda stream: stream.write(bytes(1 // 0)))
    assert file.read_bytes() == b"second"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["disk", "file", "link"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_a_pipe_takes_what_is_written_and_stays(tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write_whole(pipe, lambda stream: stream.write(b"all"))
    reader.join(10.0)
    assert read == [b"all"]
    assert pipe.is_fifo()
