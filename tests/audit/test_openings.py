import json

from mmdrex.audit.openings import OPENINGS, log_opening


def test_each_opening_of_the_test_split_is_a_line(tmp_path):
    assert log_opening(tmp_path / "run", "first") == 1
    assert log_opening(tmp_path / "run", "second") == 2
    lines = (tmp_path / "run" / OPENINGS).read_text().splitlines()
    assert [json.loads(line)["who"] for line in lines] == ["first", "second"]
