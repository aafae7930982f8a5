import pytest

from headgate.control.overlay import Changes, Overlay, add, prune, remove, set_mode, set_weight
from headgate.model.server import Mode
from tests.unit.control.configs import A, B, C, config, upstream

WEB = upstream("web", A, B)


def test_a_server_of_the_configuration_that_goes_is_noted_as_removed() -> None:
    assert remove({}, WEB, str(A)) == {"web": Changes(removed=(str(A),))}


def test_a_server_that_was_added_and_goes_leaves_no_trace() -> None:
    assert remove(add({}, WEB, str(C), 3), WEB, str(C)) == {}


def test_a_removed_server_that_is_added_again_is_the_configurations() -> None:
    assert add(remove({}, WEB, str(A)), WEB, str(A), None) == {}
    assert add(remove({}, WEB, str(A)), WEB, str(A), 5) == {"web": Changes(weights={str(A): 5})}


def test_a_server_is_added_with_its_weight() -> None:
    assert add({}, WEB, str(C), None) == {"web": Changes(added=(str(C),))}
    assert add({}, WEB, str(C), 0) == {"web": Changes(added=(str(C),), weights={str(C): 0})}


def test_removing_forgets_mode_and_weight() -> None:
    changed = set_weight(set_mode({}, "web", str(A), Mode.MAINT), "web", str(A), 9)
    assert remove(changed, WEB, str(A)) == {"web": Changes(removed=(str(A),))}


def test_ready_is_no_change() -> None:
    drained = set_mode({}, "web", str(A), Mode.DRAIN)
    assert drained == {"web": Changes(modes={str(A): "drain"})}
    assert set_mode(drained, "web", str(A), Mode.READY) == {}


def test_no_change_alters_the_overlay_it_begins_with() -> None:
    before: Overlay = {"web": Changes((str(C),), (str(A),), {str(B): "drain"}, {str(B): 2})}
    copy = {"web": Changes((str(C),), (str(A),), {str(B): "drain"}, {str(B): 2})}
    add(before, WEB, str(A), 7)
    remove(before, WEB, str(B))
    set_mode(before, "web", str(B), Mode.MAINT)
    set_weight(before, "web", str(C), 1)
    assert before == copy


@pytest.mark.parametrize(
    ("changes", "pruned"),
    [
        pytest.param(Changes(removed=(str(C), str(A))), Changes(removed=(str(A),)), id="removed and not configured"),
        pytest.param(Changes(added=(str(A), str(C))), Changes(added=(str(C),)), id="added and now configured"),
        pytest.param(
            Changes(added=(str(A),), weights={str(A): 3}), Changes(weights={str(A): 3}), id="its weight stays"
        ),
        pytest.param(Changes(modes={str(C): "drain"}, weights={str(C): 3}), Changes(), id="settings of nobody"),
        pytest.param(
            Changes(added=(str(C),), modes={str(C): "drain"}),
            Changes(added=(str(C),), modes={str(C): "drain"}),
            id="nothing to prune",
        ),
    ],
)
def test_pruning_drops_what_says_nothing(changes: Changes, pruned: Changes) -> None:
    assert prune({"web": changes}, config(WEB)) == ({"web": pruned} if pruned else {})


def test_pruning_keeps_the_changes_of_an_upstream_that_is_away() -> None:
    away: Overlay = {"api": Changes(removed=(str(A),))}
    assert prune(away, config(WEB)) == away
