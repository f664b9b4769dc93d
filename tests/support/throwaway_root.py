"""A Dockerfile's steps, carried out on this machine: each stage is a copy-on-write view of our own root directory.

image = build(REPOSITORY / "Dockerfile", {"EXTRAS": "redis"})
image.run(["auth-sidecar", "check"], mounts={tmp_path: "/etc/auth-sidecar"})     # as the image's user, nothing writable
image.close()

This stands in for a container engine. What it cannot show is what the base image brings: here that is this machine's
root with this interpreter as `python`. Everything lives in a mount namespace of its own (overlays over a tmpfs) that
ends with the process that holds it. Linux, root; raises OSError where one may not mount.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dockerfile_parse import DockerfileParser  # type: ignore[import-untyped]

_HOST = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_CERT", "PIP_CONFIG_FILE", "SSL_CERT_FILE",
         "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")  # fmt: skip
"""What builds are told of the way to a package index."""
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_HOLD = 'mount --make-rprivate / && mount -t tmpfs -o mode=755 tmpfs "$0" && echo held && exec cat'


class StepError(Exception):
    """A step ended with a failure; `str()` is the step and what it said."""


@dataclass
class Stage:
    """One FROM. `root`: where its files are, in the namespace."""

    root: str
    environ: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    directory: str = "/"
    user: str = "0:0"
    labels: dict[str, str] = field(default_factory=dict)
    words: dict[str, list[str]] = field(default_factory=dict)
    """ENTRYPOINT, CMD and HEALTHCHECK's command, in exec form."""


class Image:
    """The last stage of a Dockerfile, and the namespace in which all stages are."""

    def __init__(self) -> None:
        self._place = tempfile.mkdtemp(prefix="throwaway-root-")
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", _HOLD, self._place], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"held\n":
            self.close()
            raise OSError("mounting is not allowed here")
        self._inside = ["nsenter", f"--target={self._holder.pid}", "--mount", "--"]
        self.stages: dict[str, Stage] = {}
        self.last = Stage("")

    def close(self) -> None:
        """End the namespace, and with it everything in it."""
        for pipe in (self._holder.stdin, self._holder.stdout):
            assert pipe is not None
            pipe.close()
        self._holder.wait(30)
        os.rmdir(self._place)

    # ---- what a build does ---------------------------------------------------------------------------------------

    def begin(self, name: str) -> None:
        """A new stage, from the base image."""
        root = f"{self._place}/{len(self.stages)}"
        self.last = self.stages[name] = Stage(f"{root}/root")
        programs = Path(os.path.realpath(sys.executable)).parent
        self.last.environ["PATH"] = f"{programs}:{_PATH}"
        closed = [one for one in (programs, *programs.parents) if not os.stat(one).st_mode & 0o001]
        self._script(
            f"""
            mkdir -p {root}/upper {root}/work {root}/root
            mount -t overlay -o lowerdir=/,upperdir={root}/upper,workdir={root}/work overlay {root}/root
            for each in proc dev sys; do mount --rbind /$each {root}/root/$each; done
            rm -rf {root}/root/opt/auth-sidecar {root}/root/etc/auth-sidecar
            for each in {shlex.join(map(str, closed))}; do chmod o+x {root}/root$each; done
            """
        )

    def step(self, command: str) -> None:
        """RUN."""
        stage = self.last
        environ = {**{name: os.environ[name] for name in _HOST if name in os.environ}, "HOME": "/root"}
        line = self._command(stage, ["/bin/sh", "-c", command], {**environ, **stage.arguments, **stage.environ})
        ended = subprocess.run(line, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if ended.returncode != 0:
            raise StepError(f"{command}\n{ended.stdout}")

    def copy(self, sources: Sequence[str], target: str, origin: str) -> None:
        """COPY: `origin` is a directory that holds the sources."""
        into = f"{self.last.root}{os.path.join(self.last.directory, target)}"
        self._script(f'mkdir -p "{into if target.endswith("/") else os.path.dirname(into)}"')
        for source in sources:
            whole = f"{origin}/{source.lstrip('/').rstrip('/')}"
            contents = "/." if subprocess.run([*self._inside, "test", "-d", whole], check=False).returncode == 0 else ""
            if contents:
                self._script(f'mkdir -p "{into}"')
            self._script(f'cp -a "{whole}{contents}" "{into}"')

    # ---- what an engine does -------------------------------------------------------------------------------------

    def command(
        self, words: Sequence[str], mounts: Mapping[Path, str], environ: Mapping[str, str] | None = None
    ) -> list[str]:
        """The command line that runs something in the image: as its user, everything read-only but the mounts."""
        root = f"{self._place}/run"
        binds = "".join(f'mount --bind "{source}" "{root}{target}";' for source, target in mounts.items())
        made = "".join(f'mkdir -p "{self.last.root}{target}";' for target in mounts.values())
        self._script(
            f"""{made} mkdir -p {root}; umount -lq {root} || true; mount --rbind {self.last.root} {root}
            mount -o remount,bind,ro {root}; {binds}"""
        )
        return self.inside(words, environ)

    def inside(self, words: Sequence[str], environ: Mapping[str, str] | None = None) -> list[str]:
        """The same for one more command in what `command` or `run` has mounted last."""
        last = self.last
        stage = Stage(f"{self._place}/run", last.environ, directory=last.directory, user=last.user)
        return self._command(stage, words, {**stage.environ, **(environ or {})})

    def run(self, words: Sequence[str], mounts: Mapping[Path, str], **environ: str) -> tuple[int, str]:
        """Exit code and everything said."""
        line = self.command(words, mounts, environ)
        ended = subprocess.run(line, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        return ended.returncode, ended.stdout

    def _command(self, stage: Stage, words: Sequence[str], environ: Mapping[str, str]) -> list[str]:
        enter = [*self._inside, "chroot", f"--userspec={stage.user}", "--groups=", stage.root]
        assigned = [f"{name}={value}" for name, value in environ.items()]
        return [
            *enter,
            "/usr/bin/env",
            "-i",
            *assigned,
            "/bin/sh",
            "-c",
            'cd "$0" && exec "$@"',
            stage.directory,
            *words,
        ]

    def _script(self, script: str) -> None:
        subprocess.run([*self._inside, "sh", "-ec", script], check=True, stdout=subprocess.DEVNULL)


def build(dockerfile: Path, arguments: Mapping[str, str]) -> Image:
    """Carry out all steps. Raises StepError, OSError where one may not mount."""
    image = Image()
    try:
        with tempfile.TemporaryDirectory() as sent:
            context(dockerfile.parent, Path(sent))
            for step in DockerfileParser(path=str(dockerfile), cache_content=True).structure:
                _carry_out(image, step["instruction"], step["value"], Path(sent), arguments)
    except BaseException:
        image.close()
        raise
    return image


def _carry_out(image: Image, instruction: str, value: str, sent: Path, arguments: Mapping[str, str]) -> None:
    match instruction:
        case "FROM":
            image.begin(value.rsplit(maxsplit=1)[-1])
        case "WORKDIR":
            image.copy([], f"{value}/", "")
            image.last.directory = value
        case "RUN":
            image.step(re.sub(r"^(--mount=\S+\s+)*", "", value))
        case "COPY":
            *sources, target = value.split()
            origin = str(sent)
            if sources[0].startswith("--from="):
                origin = image.stages[sources.pop(0).removeprefix("--from=")].root
            image.copy(sources, target, origin)
        case _:
            _remember(image.last, instruction, value, arguments)


def _remember(stage: Stage, instruction: str, value: str, arguments: Mapping[str, str]) -> None:
    match instruction:
        case "ARG":
            name, _, default = value.partition("=")
            stage.arguments[name] = arguments.get(name, default)
        case "ENV" | "LABEL":
            pairs = (word.split("=", 1) for word in shlex.split(value.replace("\\\n", " ")))
            known = {**stage.arguments, **stage.environ}
            held = stage.environ if instruction == "ENV" else stage.labels
            held.update({name: re.sub(r"\$\{?(\w+)\}?", lambda m: known[m[1]], given) for name, given in pairs})
        case "USER":
            stage.user = value
        case "ENTRYPOINT" | "CMD" | "HEALTHCHECK":
            stage.words[instruction] = json.loads(value[value.index("[") :])
        case "COMMENT" | "STOPSIGNAL":
            pass
        case _:
            raise StepError(f"{instruction} is not known here")


def context(source: Path, target: Path) -> None:
    """What .dockerignore lets through to a build: of `!name` at the top all but the `**/patterns`."""
    lines = [line for line in (source / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*", "what is not named is not sent"
    kept = [line[1:] for line in lines[1:] if line.startswith("!")]
    dropped = [line.removeprefix("**/") for line in lines[1:] if not line.startswith("!")]

    def ignored(_: str, names: list[str]) -> set[str]:
        return {name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in dropped)}

    for name in kept:
        with contextlib.suppress(NotADirectoryError):
            shutil.copytree(source / name, target / name, ignore=ignored)
            continue
        shutil.copy2(source / name, target / name)
