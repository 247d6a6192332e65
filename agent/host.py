"""The machine below an agent, in the shapes of Go's gopsutil, which clients of /v1/agent/host know.

Read from `/proc` and `/etc`, which are handed in as texts so that the reading is pure; what a system does not have is
zero or empty, and named under `Errors` when a whole section is missing.
"""

import os
import platform
import socket
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

_MEMORY = {
    "free": "MemFree",
    "active": "Active",
    "inactive": "Inactive",
    "buffers": "Buffers",
    "writeBack": "Writeback",
    "dirty": "Dirty",
    "writeBackTmp": "WritebackTmp",
    "shared": "Shmem",
    "slab": "Slab",
    "sreclaimable": "SReclaimable",
    "sunreclaim": "SUnreclaim",
    "pageTables": "PageTables",
    "swapCached": "SwapCached",
    "commitLimit": "CommitLimit",
    "committedAS": "Committed_AS",
    "highTotal": "HighTotal",
    "highFree": "HighFree",
    "lowTotal": "LowTotal",
    "lowFree": "LowFree",
    "swapTotal": "SwapTotal",
    "swapFree": "SwapFree",
    "mapped": "Mapped",
    "vmallocTotal": "VmallocTotal",
    "vmallocUsed": "VmallocUsed",
    "vmallocChunk": "VmallocChunk",
    "hugePagesTotal": "HugePages_Total",
    "hugePagesFree": "HugePages_Free",
    "hugePagesRsvd": "HugePages_Rsvd",
    "hugePagesSurp": "HugePages_Surp",
    "hugePageSize": "Hugepagesize",
}
_FAMILIES = {
    "debian": ("debian", "ubuntu", "linuxmint", "raspbian", "kali"),
    "rhel": ("rhel", "centos", "rocky", "almalinux", "ol", "amzn"),
    "fedora": ("fedora",),
    "suse": ("suse", "opensuse", "opensuse-leap", "opensuse-tumbleweed", "sles"),
    "arch": ("arch", "manjaro"),
    "alpine": ("alpine",),
}
_EXT = ("ext2", "ext3", "ext4")


def host_info() -> dict[str, Any]:
    """The machine, as /v1/agent/host shows it."""
    errors: list[str] = []

    def section(name: str, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except (OSError, ValueError, KeyError) as error:
            errors.append(f"{name}: {error}")
            return None

    return {
        "Memory": section("Memory", lambda: memory(_text("/proc/meminfo"))),
        "CPU": section("CPU", lambda: processors(_text("/proc/cpuinfo"))),
        "Host": section("Host", _host),
        "Disk": section("Disk", _disk),
        "CollectionTime": time.time_ns(),
        "Errors": errors or None,
    }


def memory(meminfo: str) -> dict[str, Any]:
    """Memory in bytes, from `/proc/meminfo`. Raises KeyError when that is something else."""
    found: dict[str, int] = {}
    for line in meminfo.splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        if words and words[0].isdigit():
            found[name] = int(words[0]) * (1024 if words[1:] == ["kB"] else 1)
    total = found["MemTotal"]
    shown = {key: found.get(name, 0) for key, name in _MEMORY.items()}
    cached = found.get("Cached", 0) + shown["sreclaimable"]
    used = total - shown["free"] - shown["buffers"] - cached
    first = {
        "total": total,
        "available": found.get("MemAvailable", shown["free"] + cached),
        "used": used,
        "usedPercent": used / total * 100 if total else 0.0,
    }
    return {**first, **shown, "wired": 0, "laundry": 0, "cached": cached}


def processors(cpuinfo: str) -> list[dict[str, Any]]:
    """Each processor, from `/proc/cpuinfo`."""
    found = []
    for block in cpuinfo.split("\n\n"):
        fields = {
            name.strip(): value.strip() for name, _, value in (line.partition(":") for line in block.splitlines())
        }
        if not fields.get("processor", "").isdigit():
            continue
        number = int(fields["processor"])
        flags = fields.get("flags") or fields.get("Features") or ""
        found.append(
            {
                "cpu": number,
                "vendorId": fields.get("vendor_id", fields.get("CPU implementer", "")),
                "family": fields.get("cpu family", ""),
                "model": fields.get("model", fields.get("CPU part", "")),
                "stepping": _whole(fields.get("stepping", fields.get("CPU revision", ""))),
                "physicalId": fields.get("physical id", ""),
                "coreId": fields.get("core id", str(number)),
                "cores": 1,
                "modelName": fields.get("model name", ""),
                "mhz": float(fields.get("cpu MHz") or 0),
                "cacheSize": _whole(fields.get("cache size", "").partition(" ")[0]),
                "flags": flags.split(),
                "microcode": fields.get("microcode", ""),
            }
        )
    return found


def distribution(os_release: str, debian_version: str = "") -> tuple[str, str, str]:
    """A Linux distribution's name, family and version, from `/etc/os-release`."""
    fields = {}
    for line in os_release.splitlines():
        name, _, value = line.partition("=")
        fields[name.strip()] = value.strip().strip("\"'")
    name = fields.get("ID", "")
    family = next((family for family, members in _FAMILIES.items() if name in members), "")
    version = debian_version.strip() if name == "debian" else ""
    return name, family, version or fields.get("VERSION_ID", "")


def filesystem(mounts: str, path: str) -> str:
    """The kind of file system mounted at a path, from `/proc/mounts`, as gopsutil names it."""
    kind = ""
    for line in mounts.splitlines():
        words = line.split()
        if len(words) > 2 and words[1] == path:
            kind = words[2]  # The last mount covers those before it.
    return "ext2/ext3" if kind in _EXT else kind


def _host() -> dict[str, Any]:
    system = platform.system().lower()
    name, family, version = distribution(_text("/etc/os-release", ""), _text("/etc/debian_version", ""))
    started = next((line.split()[1] for line in _text("/proc/stat", "").splitlines() if line.startswith("btime ")), "0")
    uptime = _text("/proc/uptime", "0").partition(".")[0]
    return {
        "hostname": socket.gethostname(),
        "uptime": _whole(uptime),
        "bootTime": _whole(started),
        "procs": sum(entry.isdigit() for entry in os.listdir("/proc")) if os.path.isdir("/proc") else 0,
        "os": system,
        "platform": name or system,
        "platformFamily": family,
        "platformVersion": version,
        "kernelVersion": platform.release(),
        "kernelArch": platform.machine(),
        "virtualizationSystem": "docker" if os.path.exists("/.dockerenv") else "",
        "virtualizationRole": "guest" if " hypervisor " in f"{_text('/proc/cpuinfo', '')} " else "",
        "hostId": _host_id(),
    }


def _host_id() -> str:
    for path in ("/sys/class/dmi/id/product_uuid", "/etc/machine-id", "/proc/sys/kernel/random/boot_id"):
        try:
            return str(uuid.UUID(_text(path).strip()))
        except (OSError, ValueError):
            continue
    return ""


def _disk(path: str = "/") -> dict[str, Any]:
    found = os.statvfs(path)
    used, free = (found.f_blocks - found.f_bfree) * found.f_frsize, found.f_bavail * found.f_frsize
    inodes_used = found.f_files - found.f_ffree
    return {
        "path": path,
        "fstype": filesystem(_text("/proc/mounts", ""), path),
        "total": found.f_blocks * found.f_frsize,
        "free": free,
        "used": used,
        "usedPercent": used / (used + free) * 100 if used + free else 0.0,
        "inodesTotal": found.f_files,
        "inodesUsed": inodes_used,
        "inodesFree": found.f_ffree,
        "inodesUsedPercent": inodes_used / found.f_files * 100 if found.f_files else 0.0,
    }


def _text(path: str, default: str | None = None) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        if default is None:
            raise
        return default


def _whole(text: str) -> int:
    return int(text) if text.isdigit() else 0
