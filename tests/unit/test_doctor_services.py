"""What `workroot doctor` says of an installed service."""

from __future__ import annotations

from pathlib import Path

import pytest
from doctor_findings import cure, seen, states

from workroot.doctor.services import look_at_service
from workroot.service.host import Host
from workroot.service.installation import find_installation
from workroot.service.managers import find_manager
from workroot.service.unit_files import UnitFile, look, write


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "WORKROOT_HOME": str(tmp_path / "state")}


@pytest.fixture
def host(tmp_path: Path, environment: dict[str, str]) -> Host:
    """A system with systemd, whose program is never run."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "systemctl"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    return Host(
        platform="linux",
        environment=environment,
        program_directories=(str(tmp_path / "bin"),),
        booted_mark=str(tmp_path),
    )


def installed(host: Host, environment: dict[str, str]) -> list[UnitFile]:
    files = list(find_manager(host).files(find_installation(environment)))
    for file in files:
        write(file, look(file))
    return files


def test_no_service_is_fine(host: Host, environment: dict[str, str]) -> None:
    assert states(look_at_service(environment, host=host)) == ["ok"]


def test_a_system_without_a_service_manager_is_fine(environment: dict[str, str]) -> None:
    nothing = Host(platform="linux", environment=environment, program_directories=(), booted_mark="/nowhere")

    assert states(look_at_service(environment, host=nothing)) == ["ok"]


def test_an_installed_service_that_matches_is_fine(host: Host, environment: dict[str, str]) -> None:
    installed(host, environment)

    (found,) = look_at_service(environment, host=host)

    assert (found.state, seen(found).startswith("installed, for systemd")) == ("ok", True)


def test_a_service_of_another_state_directory_is_found(host: Host, environment: dict[str, str], tmp_path: Path) -> None:
    installed(host, {**environment, "WORKROOT_HOME": str(tmp_path / "another")})

    found = list(look_at_service(environment, host=host))

    assert "warning" in states(found)
    assert all("workroot service install" in cure(one) for one in found if one.state == "warning")


def test_a_missing_a_changed_and_a_strange_file_are_found(host: Host, environment: dict[str, str]) -> None:
    first, second = installed(host, environment)
    Path(first.path).write_text(first.text + "# mine\n")

    assert states(look_at_service(environment, host=host)) == ["note"]
    Path(second.path).unlink()
    assert states(look_at_service(environment, host=host)) == ["note", "warning"]
    Path(second.path).write_text("[Unit]\n")
    assert states(look_at_service(environment, host=host)) == ["note", "note"]
