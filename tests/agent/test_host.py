"""The machine as gopsutil's readers know it: sample files, and this machine itself."""

from __future__ import annotations

import os

from agent.host import distribution, filesystem, host_info, memory, processors

MEMINFO = """MemTotal:       1000 kB
MemFree:        400 kB
MemAvailable:   700 kB
Buffers:        50 kB
Cached:         200 kB
SReclaimable:   30 kB
Active(anon):   7 kB
HugePages_Total:       3
Hugepagesize:       2048 kB
VmallocTotal:   34359738367 kB
"""
CPUINFO = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 207
model name\t: Intel(R) Xeon(R) Processor
stepping\t: 2
microcode\t: 0x1
cpu MHz\t\t: 2299.998
cache size\t: 266240 KB
physical id\t: 0
core id\t\t: 0
flags\t\t: fpu vme

processor\t: 1
BogoMIPS\t: 48.00
Features\t: fp asimd
CPU implementer\t: 0x41
CPU part\t: 0xd0c
CPU revision\t: 1

Hardware\t: x
"""


def test_memory() -> None:
    found = memory(MEMINFO)
    assert found["total"] == 1000 * 1024
    assert found["cached"] == 230 * 1024
    assert found["used"] == (1000 - 400 - 50 - 230) * 1024
    assert found["usedPercent"] == 32.0
    assert found["available"] == 700 * 1024
    assert (found["hugePagesTotal"], found["hugePageSize"]) == (3, 2048 * 1024)
    assert found["swapTotal"] == 0


def test_processors() -> None:
    intel, arm = processors(CPUINFO)
    assert intel == {
        "cpu": 0,
        "vendorId": "GenuineIntel",
        "family": "6",
        "model": "207",
        "stepping": 2,
        "physicalId": "0",
        "coreId": "0",
        "cores": 1,
        "modelName": "Intel(R) Xeon(R) Processor",
        "mhz": 2299.998,
        "cacheSize": 266240,
        "flags": ["fpu", "vme"],
        "microcode": "0x1",
    }
    assert (arm["cpu"], arm["coreId"], arm["flags"], arm["vendorId"]) == (1, "1", ["fp", "asimd"], "0x41")


def test_distributions_and_file_systems() -> None:
    assert distribution('ID=debian\nVERSION_ID="12"\n', "12.11\n") == ("debian", "debian", "12.11")
    assert distribution('ID="rocky"\nVERSION_ID="9.3"\n') == ("rocky", "rhel", "9.3")
    assert distribution("") == ("", "", "")
    mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n"
    assert filesystem(mounts, "/") == "ext2/ext3"
    assert filesystem(mounts, "/tmp") == "tmpfs"
    assert filesystem(mounts, "/x") == ""


def test_this_machine() -> None:
    found = host_info()
    assert found["Errors"] is None
    assert 0 < found["Memory"]["available"] <= found["Memory"]["total"]
    assert len(found["CPU"]) == os.cpu_count()
    assert found["Disk"]["total"] > found["Disk"]["free"] > 0
    assert found["Host"]["hostId"]
    assert found["Host"]["bootTime"] > 0
    assert found["CollectionTime"] > 10**18
