"""The scripts beside the deployment files: each is parsed by its shell, and what can run here is run."""

import json
import re
import subprocess
import sys
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.settings import Settings, variable
from standalone.demo.tree import Tree, command, environment
from tests.architecture.sources import ROOT
from tests.e2e.harness import DOMAIN

FOLDERS = ("infra", "localstack", ".ci", "bench")
FILES = sorted(
    path.relative_to(ROOT)
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*")
    if path.is_file() and "node_modules" not in path.parts and "__pycache__" not in path.parts
)
SHELL = [path for path in FILES if re.match(rb"#!.*\b(ba)?sh\b", (ROOT / path).read_bytes()[:40])]

INFRA = ROOT / "infra"


class TestShell:
    @pytest.mark.parametrize("path", SHELL, ids=str)
    def test_is_understood_by_its_shell(self, path: Path) -> None:
        """Some of them run only on somebody's server."""
        words = (ROOT / path).read_text().split("\n", 1)[0][2:].split()

        done = subprocess.run([*words, "-n", ROOT / path], capture_output=True, text=True, check=False)

        assert (done.returncode, done.stderr) == (0, "")

    def test_there_are_some(self) -> None:
        """A pattern that finds nothing passes every test."""
        assert Path("infra/certificate.sh") in SHELL


class TestSettings:
    @pytest.mark.parametrize("path", [path for path in FILES if path.parts[0] in ("infra", "localstack")], ids=str)
    def test_every_name_is_a_setting(self, path: Path) -> None:
        """Edgepost does not start with a name that it does not know."""
        known = {variable(each) for each in fields(Settings)}
        named = set(re.findall(r"\bEDGEPOST_[A-Z_]*[A-Z]\b(?!_)", (ROOT / path).read_text()))

        assert named <= known


class TestCertificate:
    @pytest.fixture
    def kept(self, tmp_path: Path) -> Path:
        """Where Caddy keeps a certificate."""
        kept = tmp_path / "from/acme-v02.api.letsencrypt.org-directory/mail.example.com"
        kept.mkdir(parents=True)
        (tmp_path / "to").mkdir()
        return kept

    def copy(self, tmp_path: Path) -> int:
        """Run the script once."""
        words = [INFRA / "certificate.sh", "mail.example.com", tmp_path / "from", tmp_path / "to", "--once"]
        owner = str((tmp_path / "to").stat().st_uid)
        return subprocess.run(["sh", *words], env={"PATH": "/usr/bin:/bin", "OWNER": owner}, check=False).returncode

    def test_waits_while_there_is_none(self, tmp_path: Path, kept: Path) -> None:
        """At the first start Caddy needs a moment; Edgepost starts when both files are there."""
        assert self.copy(tmp_path) == 1
        assert list((tmp_path / "to").iterdir()) == []

    def test_copies_a_new_one_and_a_renewed_one(self, tmp_path: Path, kept: Path) -> None:
        """Edgepost reads files that have changed; only it may read the key."""
        (kept / "mail.example.com.crt").write_text("certificate")
        (kept / "mail.example.com.key").write_text("key")
        first = self.copy(tmp_path)
        (kept / "mail.example.com.crt").write_text("renewed")
        second = self.copy(tmp_path)

        assert (first, second) == (0, 0)
        assert (tmp_path / "to/crt.pem").read_text() == "renewed"
        assert (tmp_path / "to/key.pem").read_text() == "key"
        assert (tmp_path / "to/key.pem").stat().st_mode & 0o777 == 0o600


class TestBackup:
    def back_up(self, data: Path, backups: Path, *options: str) -> "subprocess.CompletedProcess[str]":
        """Run the script once."""
        words = [sys.executable, INFRA / "backup.py", *options, data, backups]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    def test_copy_of_a_running_one_can_be_restored(self, tmp_path: Path) -> None:
        """A backup that nobody has restored is a hope; the copy is taken while mail is accepted."""
        with Tree(tmp_path / "data", {"first_domain": DOMAIN, "dkim_algorithms": "ed25519"}) as tree:
            before = tree.run("domain", "show", DOMAIN)
            done = self.back_up(tmp_path / "data", tmp_path / "backups")
        (made,) = (tmp_path / "backups").iterdir()
        restored = tmp_path / "restored"
        restored.mkdir()
        (made / "edgepost.db").rename(restored / "edgepost.db")
        (restored / "master.key").write_bytes((tmp_path / "data/master.key").read_bytes())

        assert done.returncode == 0, done.stdout + done.stderr
        assert Tree(restored, {"first_domain": DOMAIN}).run("domain", "show", DOMAIN) == before
        assert made.stat().st_mode & 0o777 == 0o700

    def test_leaves_the_master_key_out(self, tmp_path: Path) -> None:
        """Key and copy in one place are as good as the keys in clear."""
        tree = Tree(tmp_path / "data", {"dkim_algorithms": "ed25519"})
        tree.run("initialize")

        self.back_up(tmp_path / "data", tmp_path / "backups")

        (made,) = (tmp_path / "backups").iterdir()
        assert sorted(file.name for file in made.iterdir()) == ["edgepost.db", "token-keys.json"]

    def test_keeps_the_last_ones(self, tmp_path: Path) -> None:
        """A disk full of backups stops the mail."""
        tree = Tree(tmp_path / "data", {"dkim_algorithms": "ed25519"})
        tree.run("initialize")
        for days in range(1, 4):
            (tmp_path / "backups" / f"{datetime.now(UTC) - timedelta(days=days):%Y%m%d-%H%M%S}").mkdir(parents=True)
        (tmp_path / "backups" / "20200101-000000.part").mkdir()
        oldest = sorted((tmp_path / "backups").iterdir())[:3]

        done = self.back_up(tmp_path / "data", tmp_path / "backups", "--keep", "2")

        assert done.returncode == 0, done.stdout
        assert len(list((tmp_path / "backups").iterdir())) == 2
        assert [path for path in oldest if path.exists()] == []

    def test_wrong_directory_is_an_error(self, tmp_path: Path) -> None:
        """A backup of an empty database made on the spot would look like one."""
        done = self.back_up(tmp_path, tmp_path / "backups")

        assert done.returncode == 1
        assert done.stdout.startswith("no backup: ")
        assert not (tmp_path / "edgepost.db").exists()


class TestSeed:
    @pytest.fixture
    def command(self, tmp_path: Path) -> Path:
        """The edgepost command on a throw-away store of this machine, whatever backend the script asks for."""
        script = tmp_path / "edgepost"
        words = " ".join(command())
        script.write_text(
            f"#!/bin/sh\nexport EDGEPOST_BACKEND=embedded EDGEPOST_STACK= EDGEPOST_DATA_DIR={tmp_path}/data"
            f' EDGEPOST_DKIM_ALGORITHMS=ed25519\nexec {words} "$@"\n'
        )
        script.chmod(0o755)
        return script

    def seed(self, command: Path, **environ: str) -> "subprocess.CompletedProcess[str]":
        """Run the script once."""
        settings = environment({}) | {"COMMAND": str(command)} | environ
        return subprocess.run([ROOT / "localstack/seed.sh"], env=settings, capture_output=True, text=True, check=False)

    def test_makes_samples_once(self, command: Path) -> None:
        """Whoever looks around in an emulator sees something; a second run changes nothing."""
        first = self.seed(command)
        second = self.seed(command)
        found = subprocess.run(
            [command, "server", "list", "--organization", "acme", "--json"], capture_output=True, check=True
        )

        assert first.returncode == 0, first.stderr
        assert first.stdout.count("API") == 2
        assert (second.returncode, second.stdout) == (0, "")
        assert sorted(each["permalink"] for each in json.loads(found.stdout)["servers"]) == ["newsletter", "shop"]

    @pytest.mark.parametrize(
        "url", ["https://dynamodb.eu-central-1.amazonaws.com", "http://127.0.0.1.example.com:4566"]
    )
    def test_never_fills_a_real_store(self, command: Path, url: str) -> None:
        """Made-up customers among real ones are found by the first real mail."""
        done = self.seed(command, AWS_ENDPOINT_URL=url)

        assert done.returncode == 1
        assert "never put into a real store" in done.stderr
