"""Which applications can be brought to another charm, by which Juju."""

import pytest

from ckf_airgap.errors import JujuError
from ckf_airgap.upgrades.bases import CharmRefresh, require_movable

MOVED = CharmRefresh(
    application="kfp-api",
    base="ubuntu@20.04",
    planned_base="ubuntu@24.04",
    charm_bases=("ubuntu@22.04", "ubuntu@24.04"),
)


@pytest.mark.parametrize("juju", ["3.6.1", "3.6.25", "3.7.0"])
def test_juju_3_moves_an_application_to_another_base(juju: str) -> None:
    require_movable([MOVED], juju)
    assert MOVED.new_base(juju) == "ubuntu@24.04"


@pytest.mark.parametrize("juju", ["3.5.7", "3.6.0", "4.0.0", "4.1-beta2", "10.0"])
def test_other_versions_do_not(juju: str) -> None:
    assert MOVED.new_base(juju) is None
    with pytest.raises(
        JujuError,
        match=r"cannot move applications to another base: "
        r"kfp-api \(on ubuntu@20\.04, its new charm runs on ubuntu@22\.04, ubuntu@24\.04\): "
        r"juju remove-application",
    ):
        require_movable([MOVED], juju)


@pytest.mark.parametrize("juju", ["3.6.25", "4.1-beta2"])
@pytest.mark.parametrize(
    ("base", "planned_base", "charm_bases"),
    [
        ("ubuntu@24.04", "ubuntu@24.04", ("ubuntu@24.04",)),
        (None, "ubuntu@24.04", ("ubuntu@24.04",)),
        ("ubuntu@20.04", None, ()),
    ],
)
def test_where_no_base_is_known_to_change_it_stays(
    juju: str, base: str | None, planned_base: str | None, charm_bases: tuple[str, ...]
) -> None:
    each = CharmRefresh(
        application="a", base=base, planned_base=planned_base, charm_bases=charm_bases
    )
    require_movable([each], juju)
    assert each.new_base(juju) is None


def test_juju_4_keeps_a_base_that_the_new_charm_runs_on_too() -> None:
    each = CharmRefresh(
        application="a",
        base="ubuntu@22.04",
        planned_base="ubuntu@24.04",
        charm_bases=("ubuntu@22.04", "ubuntu@24.04"),
    )
    require_movable([each], "4.0.0")
    assert each.new_base("4.0.0") is None
