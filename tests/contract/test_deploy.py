# SPDX-License-Identifier: Apache-2.0
"""What is shipped to be deployed: the tools that know it find nothing wrong, and nothing in it is out of date."""

import re
import subprocess
import sysconfig
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from intent_events.settings import SETTINGS, variable_of
from support.built import PROJECT, built
from support.collector import AGENT, CONFIG, GATEWAY, SECRET

SCRIPTS: Final = Path(sysconfig.get_path("scripts"))
COMPOSE: Final = PROJECT / "deploy/compose.yaml"
KUBERNETES: Final = PROJECT / "deploy/kubernetes"
MANIFESTS: Final = sorted(set(KUBERNETES.glob("*.yaml")) - {KUBERNETES / "kustomization.yaml"})
COLLECTORS: Final = (CONFIG, AGENT, GATEWAY)

_VARIABLE: Final = re.compile(r"INTENT_EVENTS_\w+")
_OF_COLLECTOR: Final = re.compile(r"\$\{env:(\w+)")
_NEEDED: Final = {
    "BACKEND_OTLP_ENDPOINT": "http://127.0.0.1:4318",
    "INTENT_SINK_ENDPOINT": "dns:///sinks:4317",
    "KAFKA_BROKERS": "127.0.0.1:9092",
    "REDACTION_HMAC_KEY": SECRET,
}


def run(*command: str | Path, stdin: str | None = None) -> str:
    """Output of a command, which has to succeed."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, cwd=PROJECT, env=_NEEDED)
    assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"
    return done.stdout


def rendered() -> str:
    """The manifests as they are applied."""
    return run(built("kustomize"), "build", "--load-restrictor", "LoadRestrictionsNone", KUBERNETES)


def pods() -> dict[str, dict[str, Any]]:
    """Pods of all workloads, by the workload's name."""
    found = [each for file in MANIFESTS for each in yaml.safe_load_all(file.read_text())]
    workloads = [each for each in found if each["kind"] in {"Deployment", "Job", "StatefulSet"}]
    return {each["metadata"]["name"]: each["spec"]["template"]["spec"] for each in workloads}


@pytest.mark.parametrize("config", COLLECTORS, ids=lambda config: config.name)
def test_the_collector_accepts_its_configurations(config: Path) -> None:
    """``otelcol validate`` of a Collector with the components of our list, and no others, has nothing to say."""
    assert run(built("otelcol"), "validate", "--config", config) == ""


@pytest.mark.parametrize("config", COLLECTORS, ids=lambda config: config.name)
def test_a_collectors_variables_are_explained(config: Path) -> None:
    """Each variable that a configuration takes is explained at its beginning."""
    text = config.read_text()
    explained = "".join(line for line in text.splitlines() if line.startswith("#"))
    own = set(_OF_COLLECTOR.findall(text)) - {"BACKEND_DECISION_WAIT"}
    assert sorted(name for name in own if name not in explained) == []


def test_what_the_collectors_share_is_the_same() -> None:
    """A processor of the same name is the same in each configuration, and so is the way to the sink."""
    config, agent, gateway = (yaml.safe_load(each.read_text()) for each in COLLECTORS)
    for other in (agent, gateway):
        for name, processor in other["processors"].items():
            assert processor == config["processors"][name], name
    ours, theirs = (each["exporters"]["otlp_grpc/intent_sink"] for each in (config, gateway))
    assert {**ours, "sending_queue": None, "endpoint": None, "tls": None} == {
        **theirs,
        "sending_queue": None,
        "endpoint": None,
        "tls": None,
    }


def test_hadolint() -> None:
    """The linter of Dockerfiles finds nothing."""
    assert run(SCRIPTS / "hadolint", PROJECT / "Dockerfile") == ""


def test_compose_is_valid() -> None:
    """The compose file is one by the schema of the Compose specification."""
    assert "ok" in run(SCRIPTS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)


def test_compose_is_hardened() -> None:
    """Every container of ours has a read-only file system, no capabilities but what it says, and no way to gain any."""
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    for name, service in services.items():
        assert service["security_opt"] == ["no-new-privileges:true"], name
        if name != "postgres":
            assert service["read_only"], name
            assert service["cap_drop"] == ["ALL"], name


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest.name)
def test_kubernetes_accepts_the_manifests(manifest: Path) -> None:
    """Each resource is one by the schema of Kubernetes, and has no property that it does not know."""
    run(SCRIPTS / "kubernetes-validate", "--strict", manifest)


def test_kube_score() -> None:
    """The linter of best practices has no objection to anything: probes, resources, budgets, policies, users."""
    optional = ("container-seccomp-profile", "container-ports-check")
    flags = [f"--enable-optional-test={each}" for each in optional]
    told = run(
        built("kube-score"), "score", "--exit-one-on-warning", "--output-format=ci", *flags, "-", stdin=rendered()
    )
    assert told.count("[OK]") > 50
    assert [line for line in told.splitlines() if not line.startswith(("[OK]", "[SKIPPED]"))] == []


def test_the_cluster_runs_our_configuration() -> None:
    """The Collectors in Kubernetes have the very file of the project."""
    resources = list(yaml.safe_load_all(rendered()))
    configs = {each["metadata"]["name"]: each["data"] for each in resources if each["kind"] == "ConfigMap"}
    (name,) = configs
    assert configs[name]["config.yaml"] == CONFIG.read_text()
    (collector,) = (each for each in resources if each["kind"] == "StatefulSet")
    volumes = collector["spec"]["template"]["spec"]["volumes"]
    assert {"name": "config", "configMap": {"name": name}} in volumes


@pytest.mark.parametrize("name", ["intent-migrate", "intent-sink", "otel-collector"])
def test_nobody_is_root(name: str) -> None:
    """A pod runs as nobody's user, with a read-only file system, no capabilities and no token of the cluster."""
    pod = pods()[name]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["runAsUser"] > 10_000


@pytest.mark.parametrize("file", [COMPOSE, *MANIFESTS], ids=lambda file: file.name)
def test_variables_of_ours_exist(file: Path) -> None:
    """Each variable of ours that is set is one that a program of this version reads."""
    known = {variable_of(settings, field) for settings in SETTINGS for field in settings.model_fields}
    assert set(_VARIABLE.findall(file.read_text())) - known == set()


def test_versions_agree() -> None:
    """The list of components, the builder and the images that are run are of one version of the Collector."""
    version = yaml.safe_load((PROJECT / "deploy/collector/builder.yaml").read_text())["dist"]["version"]
    image = f"otel/opentelemetry-collector-contrib:{version}"
    assert f"cmd/builder@v{version}" in (PROJECT / "Makefile").read_text()
    assert yaml.safe_load(COMPOSE.read_text())["services"]["collector"]["image"] == image
    assert [container["image"] for container in pods()["otel-collector"]["containers"]] == [image]
