"""The programs of the testbed, built from published Go modules."""

import hashlib
import re
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from testbed import rootfs, versions
from testbed.host import cached, run

_KUBERNETES_PROGRAMS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
)
_JUJU = "github.com/juju/juju"
_COLLECTOR = Path(__file__).parent / "collector_program"
_JUJU_PROVIDER = Path(__file__).parent / "juju_provider"
_JUJU_TAGS = "minimal,provider_kubernetes,notest"
# Debugging information that is stripped in the end need not be made.
_COMPILE = "all=-dwarf=false"
# The compiler collects its garbage less often, for memory that is there.
_GOGC = {"GOGC": "400"}
_STRIP = "-s -w"
_STATIC = "-s -w -linkmode external -extldflags -static"


def kubernetes() -> Path:
    """Build Kubernetes; gives the folder with its programs."""
    return cached("kubernetes", versions.KUBERNETES, _build_kubernetes)


def etcd() -> Path:
    """Build etcd; gives the folder with it."""
    return _program("etcd", versions.ETCD, "go.etcd.io/etcd/server/v3").parent


def coredns() -> Path:
    """Build CoreDNS with the plugins of the testbed's Corefile; gives the folder with it."""
    module = "github.com/coredns/coredns"
    plugins = [f"plugin/{name}" for name in ("bind", "errors", "hosts", "kubernetes")]
    return _own_main("coredns", versions.COREDNS, module, "coremain", "Run()", plugins).parent


def distribution() -> Path:
    """Build the registry of the distribution project, version 3; gives the program."""
    module = "github.com/distribution/distribution/v3"
    parts = ["registry/auth/htpasswd", "registry/auth/token", "registry/storage/driver/filesystem"]
    call = "RootCmd.Execute()"
    return _own_main("registry", versions.DISTRIBUTION, module, "registry", call, parts)


def _own_main(
    name: str, version: str, module: str, package: str, call: str, parts: Sequence[str]
) -> Path:
    """Build a program with a part of what is linked into it as it comes.

    The whole brings the clients of three public clouds, minutes of compiling.

    Args:
        name: What it is called.
        version: The module's version.
        module: Its path.
        package: The package in it whose function runs the program.
        call: That function, called.
        parts: The packages in it that register themselves.

    Returns:
        The program.
    """

    def make(folder: Path) -> None:
        built = _module(folder, f"require {module} {version}\n")
        imports = "".join(f'\t_ "{module}/{part}"\n' for part in parts)
        built.joinpath("main.go").write_text(
            f'package main\n\nimport (\n\tprogram "{module}/{package}"\n{imports})\n\n'
            f"func main() {{ program.{call} }}\n"
        )
        _build(built, folder / name, ".")

    return cached(f"small-{name}", version, make) / name


def crane() -> Path:
    """Build crane, which has a registry of its own; gives the program."""
    module = "github.com/google/go-containerregistry"
    return _program("crane", versions.CRANE, module, "cmd/crane")


def syft() -> Path:
    """Build syft; gives the program."""
    return _program("syft", versions.SYFT, "github.com/anchore/syft", "cmd/syft")


def _program(name: str, version: str, module: str, command: str = "") -> Path:
    """Build a program out of a Go module.

    Args:
        name: What it is called in the cache; the program too, where no command is given.
        version: The module's version.
        module: Its path.
        command: The folder in it that has the program, if not its root.
    """
    program = Path(command).name or name

    def make(folder: Path) -> None:
        built = _module(folder, f"require {module} {version}\n")
        _build(built, folder / program, f"{module}/{command}".rstrip("/"))

    return cached(name, version, make) / program


def juju() -> Path:
    """Build the juju client and what runs in the containers of charms."""
    return cached("juju", versions.JUJU_AGENT, _build_juju)


def juju_3_client() -> Path:
    """Build the juju client of Juju 3.6; gives the program."""

    def make(folder: Path) -> None:
        module = _juju_module(folder, versions.JUJU_3)
        _build(module, folder / "juju", f"{_JUJU}/cmd/juju", tags=_JUJU_TAGS)

    return cached("juju-client", versions.JUJU_3_CLIENT, make) / "juju"


def opentofu() -> Path:
    """Build OpenTofu; gives the program."""

    def make(folder: Path) -> None:
        name = "github.com/opentofu/opentofu"
        module = _published_module(folder, name, versions.OPENTOFU)
        _build(module, folder / "tofu", f"{name}/cmd/tofu")

    return cached("opentofu", versions.OPENTOFU, make) / "tofu"


def juju_provider() -> Path:
    """Build the stand-in of OpenTofu's provider for Juju; gives the program.

    The provider itself is not among the modules that can be had here.
    """
    plugin = f"github.com/hashicorp/terraform-plugin-go {versions.TERRAFORM_PLUGIN}"
    return _own_program("juju-provider", _JUJU_PROVIDER, [plugin])


def collector() -> Path:
    """Build OpenTelemetry's collector; gives the program."""
    project = "go.opentelemetry.io/collector"
    parts = ("otelcol", "receiver/otlpreceiver", "exporter/debugexporter")
    needed = [
        *(f"{project}/{part} {versions.COLLECTOR}" for part in parts),
        f"{project}/confmap/provider/fileprovider {versions.COLLECTOR_CONFIGURATION}",
    ]
    return _own_program("collector", _COLLECTOR, needed)


def _own_program(name: str, source: Path, needed: Sequence[str]) -> Path:
    """Build a program whose source is here.

    Args:
        name: What it is called.
        source: The folder with its source.
        needed: The modules that it needs, each with its version.

    Returns:
        The program.
    """
    sources = sorted(source.iterdir())
    content = [*(each.read_bytes() for each in sources), *(each.encode() for each in needed)]
    digest = hashlib.sha256(b"".join(content)).hexdigest()

    def make(folder: Path) -> None:
        module = _module(folder, "".join(f"require {each}\n" for each in needed))
        for each in sources:
            shutil.copyfile(each, module / each.name)
        _build(module, folder / name, ".")

    return cached(name, digest[:12], make) / name


def controller_agent() -> Path:
    """Build jujuagentd, the controller's agent, with real dqlite."""
    return cached("jujuagentd", versions.JUJU_AGENT, _build_controller_agent)


def pause() -> Path:
    """Build the program of the pod's sandbox container: it waits for a signal."""

    def make(folder: Path) -> None:
        source = folder / "pause.c"
        source.write_text("#include <unistd.h>\nint main(void) { pause(); return 0; }\n")
        run(["gcc", "-static", "-O2", "-o", folder / "pause", source])

    return cached("pause", "1", make)


def _build_kubernetes(folder: Path) -> None:
    version = versions.KUBERNETES
    _, minor, _ = version.removeprefix("v").split(".")
    source = _download("k8s.io/kubernetes", version)
    # The released module finds its staging modules in its own tree; they are published as v0.
    staged = re.findall(
        r"^\t(k8s\.io/\S+) => \./staging", source.joinpath("go.mod").read_text(), re.M
    )
    published = f"v0.{version.removeprefix('v1.')}"
    requirements = f"require k8s.io/kubernetes {version}\n" + "".join(
        f"replace {module} => {module} {published}\n" for module in staged
    )
    module = _module(folder, requirements, source)
    flags = (
        f"{_STRIP} -X k8s.io/component-base/version.gitVersion={version} "
        f"-X k8s.io/component-base/version.gitMajor=1 "
        f"-X k8s.io/component-base/version.gitMinor={minor}"
    )
    # In one command, so that one program is linked while others are.
    _build(
        module,
        folder,
        *(f"k8s.io/kubernetes/cmd/{name}" for name in _KUBERNETES_PROGRAMS),
        flags=flags,
    )


def _juju_module(folder: Path, version: str = versions.JUJU) -> Path:
    return _published_module(folder, _JUJU, version)


def _published_module(folder: Path, name: str, version: str) -> Path:
    """Make a module that requires another, with the replacements that the other builds with."""
    source = _download(name, version)
    go_mod = source.joinpath("go.mod").read_text()
    replaced = re.findall(r"^(?:replace )?\s*(\S+(?: v\S+)? => \S+ v\S+)$", go_mod, re.M)
    requirements = f"require {name} {version}\n" + "".join(
        f"replace {line}\n" for line in replaced
    )
    return _module(folder, requirements, source)


def _build_juju(folder: Path) -> None:
    module = _juju_module(folder)
    programs = [
        f"{_JUJU}/cmd/juju",
        f"{_JUJU}/cmd/jujuc",
        "github.com/canonical/pebble/cmd/pebble",
    ]
    _build(module, folder, *programs, tags=_JUJU_TAGS)
    tags = f"{_JUJU_TAGS},osusergo,netgo,sqlite_omit_load_extension"
    package = f"{_JUJU}/cmd/containeragent"
    _build(module, folder / "containeragent", package, flags=_STATIC, tags=tags, with_c=True)


def _build_controller_agent(folder: Path) -> None:
    module = _juju_module(folder)
    tags = f"{_JUJU_TAGS},dqlite,libsqlite3,osusergo,netgo"
    package = f"{_JUJU}/cmd/jujuagentd"
    # Inside the other Debian nothing is downloaded, so that it needs no settings of this machine.
    run(["go", "list", "-mod=mod", "-deps", "-tags", tags, package], cwd=module)
    libraries = (
        "-static -Wl,--start-group -ldqlite -luv -llz4 -lxxhash -lsqlite3 -lm -Wl,--end-group"
    )
    rootfs.run_inside(
        rootfs.dqlite_build(),
        f"cd /source && go build -buildvcs=false -mod=mod -trimpath -gcflags {_COMPILE} "
        f"-tags {tags} "
        f"-ldflags '{_STRIP} -linkmode external -extldflags \"{libraries}\"' "
        f"-o /output/jujuagentd {package}",
        mounts={
            module: "source",
            folder: "output",
            Path(_go("GOROOT")): "go",
            Path(_go("GOMODCACHE")): "modules",
            Path(_go("GOCACHE")): "build-cache",
        },
        env={
            "PATH": "/go/bin:/usr/bin:/bin",
            "HOME": "/root",
            "GOROOT": "/go",
            "GOMODCACHE": "/modules",
            "GOCACHE": "/build-cache",
            "GOPROXY": "off",
            "GOFLAGS": "",
            "GOTOOLCHAIN": "local",
            **_GOGC,
            "CGO_ENABLED": "1",
            "CGO_LDFLAGS_ALLOW": "(-Wl,-wrap,pthread_create)|(-Wl,-z,now)",
        },
    )


def _module(folder: Path, requirements: str, source: Path | None = None) -> Path:
    """Make a module that does nothing but require others, for go build to start from."""
    module = folder / "module"
    module.mkdir(exist_ok=True)
    go_version = run(["go", "env", "GOVERSION"]).strip().removeprefix("go")
    module.joinpath("go.mod").write_text(f"module testbed\ngo {go_version}\n{requirements}")
    if source:
        # The checksums that the project itself vouches for.
        sums = module / "go.sum"
        shutil.copyfile(source / "go.sum", sums)
        sums.chmod(stat.S_IRUSR | stat.S_IWUSR)
    return module


def _download(module: str, version: str) -> Path:
    run(["go", "mod", "download", f"{module}@{version}"], cwd=Path("/"))
    return Path(_go("GOMODCACHE")) / f"{module}@{version}"


def _build(
    module: Path,
    output: Path,
    *packages: str,
    flags: str = _STRIP,
    tags: str = "",
    with_c: bool = False,
) -> None:
    command = ["go", "build", "-buildvcs=false", "-mod=mod", "-trimpath", "-tags", tags]
    run(
        [*command, "-gcflags", _COMPILE, "-ldflags", flags, "-o", output, *packages],
        cwd=module,
        env={"CGO_ENABLED": "1" if with_c else "0", **_GOGC},
    )


def _go(variable: str) -> str:
    return run(["go", "env", variable]).strip()
