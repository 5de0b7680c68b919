"""Inside the guest: the bench around the agent. One JSON request a line, one JSON answer a line.

Runs as root beside the agent, on a virtio-serial port. `devices` makes USB devices out of kernel
gadgets on dummy controllers: two HID scanners with equal numbers and no serial, one printer.
Standard library only.
"""

import fcntl
import json
import os
import re
import struct
import subprocess
import sys
import threading
import time

GADGETS = "/sys/kernel/config/usb_gadget"
KEYS = {
    **{c: 4 + i for i, c in enumerate("abcdefghijklmnopqrstuvwxyz")},
    **{c: 30 + i for i, c in enumerate("1234567890")},
    "-": 45,
    "\n": 40,
}
REPORT = bytes.fromhex(
    "05010906a101050719e029e71500250175019508810295017508810395057501"
    "050819012905910295017503910395067508150025650507190029658100c0"
)
SET_STATUS = 0xC0016722  # _IOWR("g", 0x22, unsigned char) of linux/usb/g_printer.h
RESEED = 0x5207  # _IO("R", 0x07) of linux/random.h: RNDRESEEDCRNG
PAPER_EMPTY, SELECTED, NOT_ERROR = 0x20, 0x10, 0x08
REPORT_S, CODE_S = 0.004, 0.15
"""A quick scanner's pause between two reports, and a quick hand's between two codes. The kernel
keeps 64 events for a reader: typed without any pause, codes are torn, and refused aloud."""
labels = []
printer = {"fd": -1, "stopped": False}


def put(path, value):
    with open(path, "wb" if isinstance(value, bytes) else "w") as file:
        file.write(value)


def gadget(name, product, kind, fill):
    folder = f"{GADGETS}/{name}"
    os.makedirs(f"{folder}/strings/0x409")
    os.makedirs(f"{folder}/configs/c.1")
    put(f"{folder}/idVendor", "0x0c2e")
    put(f"{folder}/idProduct", product)
    put(f"{folder}/strings/0x409/manufacturer", "Example")
    put(f"{folder}/strings/0x409/product", "Scanner" if kind == "hid" else "Label printer")
    function = f"{folder}/functions/{kind}.{name}"
    os.makedirs(function)
    for key, value in fill.items():
        put(f"{function}/{key}", value)
    os.symlink(function, f"{folder}/configs/c.1/{kind}.{name}")
    return function


def devices(_request):
    for module in ("dummy_hcd num=3", "libcomposite", "usb_f_hid", "usb_f_printer"):
        subprocess.run(["modprobe", *module.split()], check=True)
    if not os.path.isdir(GADGETS):
        subprocess.run(["mount", "-t", "configfs", "none", "/sys/kernel/config"], check=True)
    hid = {"protocol": "1", "subclass": "1", "report_length": "8", "report_desc": REPORT}
    for name in ("gun0", "gun1"):
        gadget(name, "0x0b61", "hid", hid)
    gadget(
        "prn", "0x0b62", "printer", {"pnp_string": "MFG:Example;MDL:TSPL-203;CLS:PRINTER;CMD:TSPL;"}
    )
    for number, name in enumerate(("gun0", "gun1", "prn")):
        put(f"{GADGETS}/{name}/UDC", f"dummy_udc.{number}")
    printer["fd"] = opened("/dev/g_printer0")
    fcntl.ioctl(printer["fd"], SET_STATUS, SELECTED | NOT_ERROR)
    threading.Thread(target=take_paper, daemon=True).start()
    return {}


def opened(path):
    """Open a gadget's end; it is "no such device" until the host side has met the other end."""
    for _ in range(600):
        try:
            return os.open(path, os.O_RDWR)
        except OSError:
            time.sleep(0.1)
    return os.open(path, os.O_RDWR)


def take_paper():
    """The printer's paper path: everything sent comes out, while there is paper."""
    while True:
        if printer["stopped"]:
            time.sleep(0.05)
            continue
        data = os.read(printer["fd"], 65536)
        if data:
            labels.append(data)


def hid_path(number):
    with open(f"{GADGETS}/gun{number}/functions/hid.gun{number}/dev") as file:
        major, minor = file.read().strip().split(":")
    for name in os.listdir("/dev"):
        if name.startswith("hidg"):
            about = os.stat(f"/dev/{name}").st_rdev
            if (os.major(about), os.minor(about)) == (int(major), int(minor)):
                return f"/dev/{name}"
    raise FileNotFoundError(f"gun{number}")


def strokes(fd, text):
    for char in text:
        shift = 2 if char.isupper() else 0
        os.write(fd, struct.pack("8B", shift, 0, KEYS[char.lower()], 0, 0, 0, 0, 0))
        time.sleep(REPORT_S)
        os.write(fd, bytes(8))
        time.sleep(REPORT_S)


def scan(request):
    """Type codes on the guns, all guns at the same time: {"codes": {"0": [...], "1": [...]}}."""

    def one(number, codes):
        fd = opened(hid_path(number))
        for code in codes:
            strokes(fd, code + "\n")
            time.sleep(CODE_S)
        os.close(fd)

    threads = [threading.Thread(target=one, args=(n, c)) for n, c in request["codes"].items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {}


def plug(request):
    put(f"{GADGETS}/{request['name']}/UDC", request["udc"] or "\n")
    return {}


def paper(request):
    out = request["out"]
    status = SELECTED | (PAPER_EMPTY if out else NOT_ERROR)
    fcntl.ioctl(printer["fd"], SET_STATUS, status)
    printer["stopped"] = out
    return {}


def printed(_request):
    data = b"".join(labels)
    return {"whole": len(re.findall(rb"PRINT 1[^\n]*\n", data)), "bytes": len(data)}


def seed(request):
    """Thawed memory draws the same numbers each time, unless the kernel is told new ones."""
    with open("/dev/urandom", "wb") as file:
        file.write(bytes.fromhex(request["data"]))
        file.flush()
        fcntl.ioctl(file, RESEED)
    return {}


def run(request):
    done = subprocess.run(
        request["command"],
        shell=isinstance(request["command"], str),
        capture_output=True,
        text=True,
        timeout=request.get("timeout", 120),
    )
    return {"status": done.returncode, "out": done.stdout[-20000:], "err": done.stderr[-4000:]}


VERBS = {
    "devices": devices,
    "scan": scan,
    "plug": plug,
    "paper": paper,
    "printed": printed,
    "run": run,
    "seed": seed,
    "ping": lambda request: {},
}


def main(path):
    while True:
        with open(path, "r+b", buffering=0) as port:
            for line in iter(lambda: read_line(port), None):
                try:
                    request = json.loads(line)
                    answer = VERBS[request["verb"]](request)
                except Exception as error:  # told to the host, which decides
                    answer = {"error": repr(error)}
                line = memoryview(json.dumps(answer).encode() + b"\n")
                while line:
                    line = line[port.write(line) :]
        time.sleep(0.1)


def read_line(port):
    line = b""
    while not line.endswith(b"\n"):
        part = port.read(1)
        if not part:
            time.sleep(0.05)  # nobody at the other end yet
            if line == b"":
                continue
            return None
        line += part
    return line


main(sys.argv[1])
