"""This CPU: its name, its instruction sets, and how each runtime is held to one of them."""

import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cap:
    """A limit on the instruction set, the same for every peer that can be held to it."""

    name: str
    # CPU flags without which the cap means nothing, and those that a peer must not use under it.
    needs: frozenset[str]
    beyond: frozenset[str]
    environment: dict[str, str]

    def possible(self, flags: Sequence[str]) -> bool:
        return self.needs <= set(flags)

    def binds(self, flags: Sequence[str]) -> bool:
        """Whether this CPU has anything to hide."""
        return bool(self.beyond & set(flags))


def cap(name: str, onednn: str, needs: str, beyond: str) -> Cap:
    environment = {"SEAM_ISA": name, "ONEDNN_MAX_CPU_ISA": onednn}
    return Cap(name, frozenset(needs.split()), frozenset(beyond.split()), environment)


CAPS = {
    c.name: c
    for c in [
        Cap("all", frozenset(), frozenset(), {}),
        cap("avx2", "AVX2", "avx2 fma", "avx_vnni avx512f"),
        cap("avxvnni", "AVX2_VNNI", "avx_vnni", "avx512f amx_tile"),
        cap("avx512vnni", "AVX512_CORE_VNNI", "avx512_vnni", "amx_tile avx512_bf16"),
    ]
}


@contextmanager
def pinned(threads: int) -> Iterator[None]:
    """Whatever is started meanwhile runs on as many CPUs as it has threads.

    They are the last ones: the first is where a system puts its own work.
    """
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cpus)[-threads:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cpus)


def cpuinfo() -> dict[str, str]:
    """The first processor of /proc/cpuinfo."""
    first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def describe() -> str:
    """One line: the CPU, how many, and the system."""
    info, cpus = cpuinfo(), len(os.sched_getaffinity(0))
    flags = info.get("flags", "").split()
    sets = [flag for flag in ("avx2", "avx_vnni", "avx512_vnni", "amx_tile") if flag in flags]
    kind = f"family {info.get('cpu family')}, model {info.get('model')}; {', '.join(sets)}"
    guest = ", virtual machine" if "hypervisor" in flags else ""
    system = platform.release().split("-")[0]
    return f"{info.get('model name', 'unknown CPU')} ({kind}), {cpus} CPUs{guest}, Linux {system}"
