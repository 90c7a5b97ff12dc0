"""Bundles and overlays that are refused, with the place of what is wrong."""

import pytest

from ckf_airgap.errors import ConfigurationError
from ckf_airgap.planning.bundle_and_overlay import apply_overlay, read_bundle
from tests.unit.bundles import APP, PUBLIC, bundle_of, one, overlaid


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("applications: [", "is not valid YAML (line 1)"),
        ("applications: {}\nname: 'x\n", "is not valid YAML (line 3)"),
        ("a: &a [*b]", "is not valid YAML (line 1)"),
        ("name: !!python/object:os.system {}", "is not valid YAML (line 1)"),
        ("name: \x00", "is not valid YAML"),
        ("[" * 20000, "is not valid YAML (it is nested too deeply)"),
        (
            "\n".join(
                ["a0: &a0 [x]"]
                + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
            ),
            "is not valid YAML (it expands to more than 200000 values)",
        ),
        ("a: &a {<<: [*a, *a]}", "is not valid YAML"),
        (
            f"applications:\n  ? {'a-' * 50_000}\n  : {{}}\n",
            "has an application with the name 'a-a-",
        ),
        ("- app", "is not a map"),
        ("just text", "is not a map"),
        ("1: {}", "has a key that is not text: 1"),
        ("applications: [app]", "has applications, which is not a map"),
        ("applications: app", "has applications, which is not a map"),
        ("applications: {1: {}}", "has a key that is not text: 1"),
        ("applications: {App: {}}", "has an application with the name 'App'"),
        ("applications: {app_1: {}}", "has an application with the name 'app_1'"),
        ("applications: {app-1: {}}", "has an application with the name 'app-1'"),
        ("applications: {-app: {}}", "has an application with the name '-app'"),
        ("applications: {'': {}}", "has an application with the name ''"),
        ("applications: {'app ': {}}", "has an application with the name 'app '"),
        ("applications: {'app\\n': {}}", r"has an application with the name 'app\\n'"),
        (f"applications: {{{'a' * 90}_: {{}}}}", f"has an application with the name '{'a' * 80}'"),
        ("applications: {app: minio}", "has app, which is not a map"),
        ("applications: {app: [minio]}", "has app, which is not a map"),
        ("applications: {app: {options: [a]}}", "has app/options, which is not a map"),
        (
            "applications: {app: {options: {a: [x]}}}",
            "gives app/a a value that is not one scalar",
        ),
        (
            "applications: {app: {options: {a: {b: c}}}}",
            "gives app/a a value that is not one scalar",
        ),
        ("applications: {app: {options: {a: }}}", "gives app/a a value that is not one scalar"),
        (
            "applications: {app: {options: {a: include-file://a.txt}}}",
            "takes app/a from a file; it must contain the value itself",
        ),
        (
            "applications: {app: {options: {a: 'include-base64://a'}}}",
            "takes app/a from a file; it must contain the value itself",
        ),
        ("applications: {app: {scale: two}}", "gives app the scale 'two'"),
        ("applications: {app: {scale: -1}}", "gives app the scale -1"),
        ("applications: {app: {scale: true}}", "gives app the scale True"),
        ("applications: {app: {scale: 1.5}}", "gives app the scale 1.5"),
        ("applications: {app: {num_units: '2'}}", "gives app the scale '2'"),
        ("applications: {app: {trust: 'yes'}}", "gives app the trust 'yes'"),
        ("applications: {app: {trust: 1}}", "gives app the trust 1"),
        ("applications: {app: {trust: }}", "gives app the trust None"),
        (
            "applications: {app: {constraints: [mem=2G]}}",
            "gives app constraints that are not text",
        ),
        (
            "applications: {app: {constraints: {mem: 2G}}}",
            "gives app constraints that are not text",
        ),
        ("applications: {app: {base: 24.04}}", "gives app a base that is not text"),
        (f"{APP}relations: {{app: other}}", "has relations that are not a list"),
        (f"{APP}relations: app", "has relations that are not a list"),
        (f"{APP}relations: [app]", "has a relation that is not a pair: app"),
        (f"{APP}relations: [[app]]", "has a relation that is not a pair: ['app']"),
        (f"{APP}relations: [[app, other, app]]", "has a relation that is not a pair"),
        (f"{APP}relations: [[[app], other]]", "has a relation that is not a pair"),
        (f"{APP}relations: [{{app: other}}]", "has a relation that is not a pair"),
        (
            f"{APP}relations: [['app:x', 'minoi:y']]",
            "relates app:x with minoi:y, but has no application minoi",
        ),
        (
            f"{APP}relations: [[minoi, app]]",
            "relates minoi with app, but has no application minoi",
        ),
        (f"{APP}relations: [[app, [other, minoi]]]", "but has no application minoi"),
        (
            f"{APP}relations: [['app:A', other]]",
            "has a relation with the name 'app:A'",
        ),
        (f"{APP}relations: [['app:', other]]", "has a relation with the name 'app:'"),
        ("applications: {app: {options: {'--x': 1}}}", "has an option of app with the name '--x'"),
        (
            "applications: {app: {resources: {../../x: i/j:1}}}",
            "has a resource of app with the name '../../x'",
        ),
        (
            "applications: {app: {storage: {'a/b': 1G}}}",
            "has a storage of app with the name 'a/b'",
        ),
        (
            "applications: {app: {storage: {data: [1G]}}}",
            "has app/storage/data, which is not a text",
        ),
        (
            "applications: {app: {devices: {'a b': '1'}}}",
            "has a devices of app with the name 'a b'",
        ),
        (
            "applications: {app: {bindings: {'A B': x}}}",
            "has a bindings of app with the name 'A B'",
        ),
        (
            'applications: {app: {annotations: {"\\e[2J": x}}}',
            "has an annotations of app with the name '\\x1b[2J'",
        ),
        ("applications: {app: {expose: [x]}}", "has app/expose, which is neither true nor false"),
        ('applications: {app: {options: {b: "c\\0d"}}}', "gives app/b a value with a NUL in it"),
        (
            'applications: {app: {constraints: "mem=1G\\n--x"}}',
            "gives app constraints that are not",
        ),
        ("applications: {a: {}, b: {}, a: {}}", "is not valid YAML (line 1 repeats the key a)"),
        (f"{APP}saas: {{'--x': {{}}}}", "has a saas with the name '--x'"),
        (
            f"applications: {{{', '.join(f'a{n}x: {{}}' for n in range(2_001))}}}",
            "has 2001 applications, which is too many for a bundle",
        ),
        (
            f"{APP}relations: [[app, [{', '.join(['other'] * 10_001)}]]]",
            "has more than 10000 relations",
        ),
        (f"{APP}relations: [[app, 1]]", "has a relation with the name '1'"),
        ("x" * (1024 * 1024 + 1), "has 1048577 characters, which is too many for a bundle"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read_bundle(text)
    assert raised.value.problem.startswith("the bundle ")
    assert problem in raised.value.problem
    assert "juju attach-resource ckf-airgap bundle=" in raised.value.cure
    with pytest.raises(ConfigurationError) as raised:
        apply_overlay(read_bundle(APP), text)
    assert raised.value.problem.startswith("the overlay ")
    assert problem in raised.value.problem
    assert "juju config ckf-airgap overlay=@overlay.yaml" in raised.value.cure


@pytest.mark.parametrize("text", ["name: empty", "applications: {}", "{}", "relations: []"])
def test_a_bundle_without_applications_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="the bundle names no applications"):
        read_bundle(text)


@pytest.mark.parametrize("text", ["name: empty", "applications: {}", "{}", "relations: []"])
def test_an_overlay_that_changes_nothing_is_one(text: str) -> None:
    assert overlaid(text) == read_bundle(PUBLIC)


@pytest.mark.parametrize("charm", ["''", "1", "[minio]", "{a: b}"])
def test_a_bundle_names_charms_with_text(charm: str) -> None:
    with pytest.raises(ConfigurationError, match="the bundle names no valid charm for app"):
        bundle_of(f"{{charm: {charm}}}")


@pytest.mark.parametrize("image", ["", "''", "57", "[a]", "{registrypath: a}"])
def test_an_overlay_names_images_with_text(image: str) -> None:
    with pytest.raises(ConfigurationError, match=r"no image for the resource minio/oci-image"):
        overlaid(f"applications: {{minio: {{resources: {{oci-image: {image}}}}}}}")


def test_the_largest_bundle_is_read() -> None:
    text = "applications: {app: {}}\n#"
    assert one(read_bundle(text + "x" * (1024 * 1024 - len(text))))


# --- in a plan ---
