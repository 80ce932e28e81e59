from pathlib import Path

from killing import Killing


def test_a_server_that_is_killed_loses_no_job_and_runs_no_finished_stage_again(tmp_path: Path) -> None:
    tally = Killing(tmp_path, seed=1, models=1).run(kills=3, jobs=2)
    print(tally)
    assert sum(tally.kills.values()) == 3
    assert tally.accepted >= 2
    assert tally.candidates >= 2
    assert not tally.faults()
