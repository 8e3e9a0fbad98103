# SPDX-License-Identifier: Apache-2.0
"""The judgement of ``doctor``: which facts are fine, which are worth a warning, and which fail."""

from collections.abc import Iterator
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from intent_events.cli.doctor import show_table
from intent_events.privacy import HashKey, KeyRing
from intent_events.review import doctor
from intent_events.review.doctor_model import Check, Diagnosis, Probed, Sdk, SpoolSeen, Status, TargetSeen, Verdict
from intent_events.settings import RecordSettings
from intent_events.store.health import WRITTEN, Emitter, Health, Rights, Role
from unit.healths import HEALTH, ROLE

RING: Final = KeyRing([HashKey("old", b"k" * 16), HashKey("new", b"l" * 16, 1)])
PROBED: Final = Probed(
    instrumented=True,
    targets=(TargetSeen(target="shop:handle", wrapped=True),),
    exporter_installed=True,
    attached=True,
    met_sdk=True,
    sampler=True,
    sdk=Sdk.PRESENT,
    max_attributes=128,
)
SPOOL: Final = SpoolSeen("/var/spool/ie", there=True, used_bytes=10, max_bytes=1000)
STREAM: Final = 900.0
MISSING: Final = "RuntimeError: Requested component '{}' not found in entry point '{}'"


def by_name(checks: Iterator[Check]) -> dict[str, Check]:
    """Checks by their names, which are unique."""
    found = list(checks)
    named = {check.name: check for check in found}
    assert len(named) == len(found)
    return named


def application(**facts: Any) -> dict[str, Check]:
    """What is said of an application that is sound but for these facts."""
    return by_name(doctor.check_application(PROBED.model_copy(update=facts)))


def spool(**facts: Any) -> dict[str, Check]:
    """What is said of a spool that is sound but for these facts."""
    return by_name(doctor.check_spool(SPOOL._replace(**facts)))


def test_sound_facts_are_fine() -> None:
    """Nothing is wrong with an application, a spool and a database that are as they should be."""
    checks = [
        doctor.check_settings([]),
        doctor.check_hash_key(RecordSettings.model_validate({"hash_key": "k" * 16}), RING, 0),
        *application().values(),
        *spool().values(),
        doctor.check_database(HEALTH),
        doctor.check_schema(HEALTH, "at revision 1, the newest", at_head=True),
        doctor.check_role(ROLE),
        doctor.check_partitions(HEALTH),
        doctor.check_stream(HEALTH, STREAM),
        doctor.check_emitters(HEALTH),
        doctor.check_dead_letters(HEALTH),
    ]
    assert {check.name: check.status for check in checks if check.status is not Status.OK} == {}
    assert Diagnosis.of(checks, asked=True).status is Verdict.OK


@pytest.mark.parametrize(
    ("facts", "name", "status", "says"),
    [
        ({"instrumented": False}, "instrumented", Status.FAIL, "does not start our instrumentor"),
        ({"targets": (TargetSeen(target="a:b", error="ImportError"),)}, "targets", Status.FAIL, "a:b (ImportError)"),
        ({"targets": (TargetSeen(target="a:b"),)}, "targets", Status.FAIL, "a:b (not wrapped)"),
        ({"targets": ()}, "targets", Status.OK, "none named"),
        (
            {"targets": (TargetSeen(target="a:b", wrapped=True, kept="APIRoute"),)},
            "targets",
            Status.WARN,
            "called unrecorded from there: a:b (by a APIRoute)",
        ),
        ({"exporter_installed": False, "attached": False}, "delivery", Status.FAIL, "is not installed"),
        ({"attached": False}, "delivery", Status.FAIL, "no record is kept"),
        ({"met_sdk": False}, "delivery", Status.FAIL, "not attached to the SDK"),
        ({"sdk": Sdk.DISABLED, "sampler": False}, "delivery", Status.OK, "OTEL_SDK_DISABLED is set"),
        ({"sdk": Sdk.ABSENT, "met_sdk": False}, "delivery", Status.OK, "direct way"),
        ({"sampler": False}, "sampler", Status.FAIL, "unsampled utterances become no row"),
        ({"max_attributes": 63}, "span_limits", Status.WARN, "63 attributes"),
        ({"max_attributes": 64, "max_length": 256}, "span_limits", Status.OK, "high enough"),
        ({"max_length": 255}, "span_limits", Status.WARN, "255 characters"),
        ({"exporter_named": True}, "exporters", Status.WARN, "needless"),
        ({"exporter_named": True, "attached": False}, "exporters", Status.WARN, "best effort"),
    ],
)
def test_an_application(facts: dict[str, Any], name: str, status: Status, says: str) -> None:
    """Each thing that can be wrong with an application is told in its own check."""
    check = application(**facts)[name]
    assert check.status is status
    assert says in check.detail


@pytest.mark.parametrize(
    ("exporters", "says", "never"),
    [
        ("otlp intent_events", "it is the last of otlp, intent_events, so that no other waits", "ahead"),
        ("intent_events otlp", "ahead of otlp: while Postgres is away", "it is the last"),
        ("console intent_events otlp zipkin", "ahead of otlp, zipkin: while Postgres is away", "console"),
        ("intent_events intent_events", "needless beside the processor", "ahead"),
        ("intent_events", "needless beside the processor", "ahead"),
        ("", "needless beside the processor", "ahead"),
    ],
)
def test_the_order_of_exporters(exporters: str, says: str, never: str) -> None:
    """Ours is needless in any place; ahead of others it is told what waits for it, and that last is better."""
    probed = PROBED.model_copy(update={"exporter_named": True})
    check = by_name(doctor.check_application(probed, exporters.split()))["exporters"]
    assert check.status is Status.WARN
    assert says in check.detail
    assert never not in check.detail
    assert ("name it last" in check.remedy) == ("ahead" in check.detail)


@pytest.mark.parametrize("exporters", [(), ("otlp",), ("otlp", "console")])
def test_exporters_of_others(exporters: tuple[str, ...]) -> None:
    """Where ours is not among them there is nothing to say of their order."""
    check = by_name(doctor.check_application(PROBED, exporters))["exporters"]
    assert (check.status, check.remedy) == (Status.OK, "")


@pytest.mark.parametrize(
    ("why", "says", "remedy"),
    [
        (
            MISSING.format("otlp_proto_grpc", "opentelemetry_traces_exporter"),
            "does not start our instrumentor: RuntimeError: Requested component 'otlp_proto_grpc' not found",
            "install opentelemetry-exporter-otlp, or set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, or OTEL_TRACES_EX",
        ),
        (
            MISSING.format("zipkin", "opentelemetry_metrics_exporter"),
            "does not start our instrumentor: RuntimeError: Requested component 'zipkin' not found",
            "install the package that has it, or name another in OTEL_METRICS_EXPORTER",
        ),
        (
            MISSING.format("x", "opentelemetry_id_generator"),
            "Requested component 'x' not found",
            "install the package that has it, or name another in the OTEL_* variable",
        ),
        ("ValueError", "does not start our instrumentor (ValueError)", "its log says why"),
        ("", "does not start our instrumentor", "its log says why"),
    ],
)
def test_an_application_that_does_not_start(why: str, says: str, remedy: str) -> None:
    """What the process said of its failure is shown, and the remedy is that of this failure."""
    probed = PROBED.model_copy(update={"instrumented": False})
    check = by_name(doctor.check_application(probed, why=why))["instrumented"]
    assert check.status is Status.FAIL
    assert says in check.detail
    assert remedy in check.remedy
    cut = by_name(doctor.check_application("a process ended", why=why))["instrumented"]
    assert cut.detail.startswith("a process ended")
    assert remedy in cut.remedy


def test_a_target_whose_own_import_is_missing() -> None:
    """A module that is spelled right and needs what is not installed is told so, and its spelling is not doubted."""
    needs = TargetSeen(target="a:b", error="ModuleNotFoundError of numpy")
    misspelt = TargetSeen(target="aa:b", error="ModuleNotFoundError")
    check = application(targets=(needs,))["targets"]
    assert (check.status, check.detail) == (Status.FAIL, "cannot be wrapped: a:b (ModuleNotFoundError of numpy)")
    assert "install" in check.remedy
    assert "spelling" not in check.remedy
    both = application(targets=(needs, misspelt))["targets"].remedy
    assert "install" in both
    assert "spelling" in both


def test_stages() -> None:
    """A target of a stage is told with its stage, and does not stand for a handler."""
    stages = {"shop:rank": "discover"}
    ranked = TargetSeen(target="shop:rank", wrapped=True)

    def targets(*seen: TargetSeen) -> Check:
        probed = PROBED.model_copy(update={"targets": seen})
        return by_name(doctor.check_application(probed, stages=stages))["targets"]

    both = targets(*PROBED.targets, ranked)
    assert (both.status, both.detail) == (Status.OK, "wrapped: shop:handle, shop:rank (stage discover)")
    alone = targets(ranked)
    assert (alone.status, alone.detail[:10]) == (Status.OK, "none named")
    assert "shop:rank (stage discover)" in alone.detail
    wrong = targets(*PROBED.targets, TargetSeen(target="shop:rank", error="AttributeError"))
    assert (wrong.status, wrong.detail) == (
        Status.FAIL,
        "cannot be wrapped: shop:rank (stage discover, AttributeError)",
    )


def test_an_application_that_could_not_be_tried() -> None:
    """When nobody could look, one check fails with the reason, and nothing else is claimed."""
    checks = by_name(doctor.check_application("it took too long"))
    assert {name: check.status for name, check in checks.items()} == {"instrumented": Status.FAIL}
    assert checks["instrumented"].detail == "it took too long"


@pytest.mark.parametrize(
    ("facts", "name", "status"),
    [
        ({"there": False}, "spool", Status.OK),
        ({"problem": "it is no folder"}, "spool", Status.FAIL),
        ({"own": False}, "spool", Status.FAIL),
        ({"mode": 0o750}, "spool", Status.WARN),
        ({"mode": 0o500}, "spool", Status.OK),
        ({"used_bytes": 499}, "spool_size", Status.OK),
        ({"used_bytes": 500}, "spool_size", Status.WARN),
        ({"used_bytes": 900}, "spool_size", Status.FAIL),
        ({"oldest_age_s": 300.0}, "spool_age", Status.OK),
        ({"oldest_age_s": 301.0}, "spool_age", Status.WARN),
        ({"dead_processes": 1, "dead_bytes": 7}, "spool_orphans", Status.WARN),
        ({"elsewhere": ('database "x" on h',), "elsewhere_bytes": 7}, "spool_orphans", Status.WARN),
        ({"set_aside_bytes": 1}, "spool_damage", Status.WARN),
    ],
)
def test_a_spool(facts: dict[str, Any], name: str, status: Status) -> None:
    """Each thing that can be wrong with the spool is told in its own check, at its own mark."""
    assert spool(**facts)[name].status is status


def test_a_spool_that_nobody_can_look_at() -> None:
    """Without the exporter nothing is claimed of a spool."""
    checks = by_name(doctor.check_spool("the exporter is not installed here"))
    assert {name: check.status for name, check in checks.items()} == {"spool": Status.SKIP}


@pytest.mark.parametrize(
    ("settings", "status", "says"),
    [
        ({"hash_key": "k" * 16}, Status.OK, "keyed"),
        ({"hash_key_file": "/run/key"}, Status.OK, "by the key 'old'; live too: 'new'"),
        ({"hash_keyring": "/run/keys"}, Status.OK, "keyed"),
        ({}, Status.WARN, "each process makes its own"),
        ({"hash": "plain", "hash_key": "k" * 16}, Status.WARN, "plain SHA-256"),
    ],
)
def test_a_hash_key(settings: dict[str, str], status: Status, says: str) -> None:
    """Fingerprints that do not meet or can be reversed are worth a warning; the key itself is never shown."""
    check = doctor.check_hash_key(RecordSettings.model_validate(settings), RING, 0)
    assert check.status is status
    assert says in check.detail
    assert "kkkk" not in check.model_dump_json()


def test_settings() -> None:
    """What cannot be used fails; what is only odd is warned of, with what to do; both are told at once."""
    odd = ["nothing reads INTENT_EVENTS_PREVIEWS: did you mean INTENT_EVENTS_PREVIEW?"]
    check = doctor.check_settings([], odd)
    assert (check.status, check.detail) == (Status.WARN, odd[0])
    assert check.remedy
    both = doctor.check_settings(["INTENT_EVENTS_HEARTBEAT: write 30s"], odd)
    assert both.status is Status.FAIL
    assert both.detail == f"INTENT_EVENTS_HEARTBEAT: write 30s; {odd[0]}"


def test_what_could_not_be_read_is_not_called_fine() -> None:
    """Facts that are not known give a skip with the reason, never an ok."""
    blind = HEALTH._replace(reads_rows=False, emitters=None, dead_letters=None, missing_partitions=None)
    checks = [
        doctor.check_stream(blind, STREAM),
        doctor.check_emitters(blind),
        doctor.check_dead_letters(blind),
        doctor.check_partitions(blind),
    ]
    assert {check.status for check in checks} == {Status.SKIP}
    assert Diagnosis.of(checks, asked=True).status is Verdict.OK


def test_verdicts() -> None:
    """The worst check is the verdict; without a database there is none."""
    ok, warn, fail = (
        Check(name=status.value, status=status, detail="") for status in (Status.OK, Status.WARN, Status.FAIL)
    )
    assert Diagnosis.of([ok, warn], asked=True).status is Verdict.WARN
    assert Diagnosis.of([fail, ok, warn], asked=True).status is Verdict.FAIL
    assert Diagnosis.of([fail, ok], asked=False).status is Verdict.COULD_NOT_ASK


TEXTS: Final = st.text(max_size=20)
COUNTS: Final = st.integers(0, 1 << 40)
AGES: Final = st.none() | st.floats(-10, 1e9)
ROLES: Final = st.builds(
    Role,
    TEXTS,
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.fixed_dictionaries(
        dict.fromkeys(
            WRITTEN,
            st.builds(
                Rights,
                st.booleans(),
                st.frozensets(st.sampled_from(["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"])),
            ),
        )
    ),
)
EMITTERS: Final = st.builds(
    Emitter,
    st.none() | TEXTS,
    st.none() | TEXTS,
    st.none() | st.integers(),
    st.floats(0, 1e6),
    COUNTS,
    st.dictionaries(TEXTS, st.integers(1)),
)
HEALTHS: Final = st.builds(
    Health,
    ROLES,
    st.booleans(),
    st.booleans(),
    st.none() | st.lists(TEXTS).map(tuple),
    AGES,
    AGES,
    st.none() | st.lists(EMITTERS, max_size=5).map(tuple),
    st.none() | st.dictionaries(TEXTS, st.integers(1)),
)
SPOOLS: Final = st.builds(
    SpoolSeen,
    TEXTS,
    TEXTS,
    st.booleans(),
    st.integers(0, 0o7777),
    st.booleans(),
    COUNTS,
    st.integers(1, 1 << 40),
    AGES,
    st.integers(0, 9),
    COUNTS,
    st.lists(TEXTS, max_size=9).map(tuple),
    COUNTS,
    COUNTS,
)


@given(
    health=HEALTHS,
    seen=SPOOLS,
    probed=st.builds(Probed),
    exporters=st.lists(TEXTS | st.just("intent_events")),
    why=TEXTS,
)
def test_every_complaint_has_a_remedy(
    health: Health, seen: SpoolSeen, probed: Probed, exporters: list[str], why: str
) -> None:
    """Whatever the facts are, nothing raises, names are unique, and each warning and failure says what to do."""
    checks = [
        *doctor.check_application(probed, exporters, why=why),
        *doctor.check_spool(seen),
        doctor.check_database(health),
        doctor.check_schema(health, "somewhere: do this", at_head=False),
        doctor.check_role(health.role),
        doctor.check_partitions(health),
        doctor.check_stream(health, STREAM),
        doctor.check_emitters(health),
        doctor.check_dead_letters(health),
    ]
    named = by_name(iter(checks))
    for check in named.values():
        assert bool(check.remedy) or check.status in (Status.OK, Status.SKIP), check
        assert check.detail


@pytest.mark.parametrize(
    ("statuses", "asked", "end"),
    [
        ("ok ok", True, "Everything is as it should be."),
        ("ok skip", True, "Everything that could be looked at is as it should be."),
        ("ok warn skip", True, "Nothing failed; something is not as it should be."),
        ("ok fail", True, "Something failed: until it is mended, records may be lost, late or incomplete."),
        ("fail skip", False, "The database could not be asked: what arrived is not known."),
    ],
)
def test_the_last_sentence(statuses: str, asked: bool, end: str) -> None:  # noqa: FBT001 - a parameter of pytest
    """What is said of all checks together is true: nothing is called fine that was not looked at."""
    checks = [Check(name=f"c{place}", status=Status(name), detail="d") for place, name in enumerate(statuses.split())]
    console = Console(width=200)
    with console.capture() as capture:
        show_table(Diagnosis.of(checks, asked=asked), console)
    assert capture.get().splitlines()[-2] == end


@pytest.mark.parametrize("width", [80, 200])
def test_a_terminal(width: int) -> None:
    """Every check and remedy can be read, no line is wider than the terminal, and no control character gets there."""
    checks = [
        doctor.check_settings(["INTENT_EVENTS_HASH: no such thing"]),
        *doctor.check_spool(SPOOL._replace(folder="/a\x1b[2J/b", mode=0o755)),
        doctor.check_role(ROLE._replace(superuser=True)),
    ]
    console = Console(width=width, record=True, force_terminal=False)
    with console.capture() as capture:
        show_table(Diagnosis.of(checks, asked=True), console)
    shown = capture.get()
    assert max(map(len, shown.splitlines())) <= min(width, 110)
    flat = "".join(shown.split())
    for check in checks:
        assert check.name.replace("_", "") in flat
        if check.status is not Status.OK:
            assert "".join(check.remedy.replace("\x1b", "\\u001b").split()) in flat
    assert "\x1b" not in shown
