"""The guard's controls in a run: what they stand behind, what they go by, and where they are refused."""

from __future__ import annotations

import pytest

from lvlm_saliency.benchmarks.opening import open_benchmark
from lvlm_saliency.errors import SettingError
from lvlm_saliency.evaluation import gates
from lvlm_saliency.evaluation.rows import check_answer
from lvlm_saliency.evaluation.systems import GREEDY, System, system
from lvlm_saliency.guard.method import Guard
from lvlm_saliency.guard.verdicts import Judged, Oracle, Position, Random


class Folder:
    """Answers by system, as a run's folder gives them."""

    def __init__(self, **answers):
        self.found = answers

    def answers(self, benchmark, one, items):
        return self.found.get(one.label, {})


@pytest.fixture(scope="module")
def captions():
    return open_benchmark("scenes-caption", n=4)


def made(**settings) -> System:
    return system(Guard(**settings), 3)


def test_controls_come_behind_the_guard_that_they_go_by():
    plain, greedy = made(), System(GREEDY, ())
    gated = made(verdicts="random"), made(verdicts="oracle"), made(verdicts="position", local_tries=3)
    labels = [one.label for one in gates.in_order([greedy, *gated, plain], 3)]
    assert labels == [
        "greedy",
        "guard:verdicts=oracle",
        "guard",
        "guard:local_tries=3",
        "guard:verdicts=random",
        "guard:local_tries=3,verdicts=position",
    ]


@pytest.mark.parametrize("settings", [{}, {"seed": 7}, {"local_tries": 3}])
def test_the_guard_behind_a_control_is_the_one_that_the_command_line_makes(settings):
    assert gates.ungated(made(verdicts="random", **settings), 3) == made(**settings)


def test_the_oracle_has_the_benchmarks_labels(captions):
    bound = gates.bound(made(verdicts="oracle"), captions, Folder(), 3)
    (method,) = bound.methods
    assert isinstance(method.verdicts, Oracle)
    assert bound.label == "guard:verdicts=oracle"
    for item, scene in zip(captions.items, captions.scenes, strict=True):
        assert method.verdicts.present[item.index] == scene.present


@pytest.mark.parametrize(("name", "kind"), [("random", Random), ("position", Position)])
def test_the_rivals_act_as_often_as_the_guard_did(captions, name, kind):
    rows = {i: {"judged": [["cup", 0, 0, 0, False], ["dog", 1, 0, 1, i < 2]]} for i in range(4)}
    words = [pair for i, row in rows.items() for pair in gates.judged(i, row)]
    assert words[3] == (Judged(1, "dog", 1, 0, 1), True)
    bound = gates.bound(made(verdicts=name), captions, Folder(guard=rows), 3)
    (method,) = bound.methods
    assert isinstance(method.verdicts, kind)
    assert method.verdicts.seed == 3
    late = sum(method.verdicts.acts(Judged(i, "dog", 1, 0, 1)) for i in range(1000))
    assert late == pytest.approx(500, abs=60)
    assert not any(method.verdicts.acts(Judged(i, "cup", 0, 0, 0)) for i in range(100))


def test_rivals_wait_for_all_of_the_guards_answers(captions):
    assert gates.bound(made(verdicts="random"), captions, Folder(guard={0: {}}), 3) is None
    assert gates.bound(made(), captions, Folder(), 3) == made()


def test_an_oracle_without_labels_is_refused(captions):
    pope = open_benchmark("pope", data="../shared/data/pope", images="/tmp")
    pope.__dict__["items"] = captions.items
    gates.check([made(verdicts="oracle")], [captions, open_benchmark("scenes-pope", n=1)])
    gates.check([made(verdicts="random")], [pope])
    with pytest.raises(SettingError, match=r"guard:verdicts=oracle decides by labels, and pope does not say"):
        gates.check([made(verdicts="oracle")], [captions, pope])


def test_unknown_controls_are_refused():
    with pytest.raises(SettingError, match=r"no control 'oracel'.*oracle"):
        gates.in_order([made(verdicts="oracel")], 3)


@pytest.mark.parametrize("judged", [3, [3], [["dog", 0, 0, 0]], [["dog", 0, 0, -1, True]], [["dog", 0, 0, 0, 1]]])
def test_a_damaged_row_is_told(judged):
    row = {"index": 0, "id": "a", "image": "b", "text": "c", "token_ids": [1], "finish": "stop"}
    assert check_answer(row | {"judged": [["dog", 0, 0, 0, True]]}) == ""
    assert check_answer(row | {"judged": judged}) == "judged holds no words"
