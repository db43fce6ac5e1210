"""hostile.py FAULT: the Python template with one fault, for the tests of the process protocol."""

import os
import struct
import sys
import time

here = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(here, "..", "python"), os.path.join(here, "..", "templates")]
import numpy as np

import kernel
import kvproof

FAULT = sys.argv[1]
np.seterr(all="ignore")
declared = kvproof.capabilities(kernel.FORMATS, precision=kernel.PRECISION)
send, runs = kvproof._send, [0]


def run(problem, q, k, v):
    runs[0] += 1
    answer = kernel.run(problem, q, k, v)
    if FAULT == "short-output":
        answer["output"] = answer["output"][..., :-1]
    elif FAULT == "short-cache":
        answer["packed.v.blocks"] = answer["packed.v.blocks"][:-34]
    elif FAULT == "no-lse":
        del answer["lse"]
    elif FAULT == "nondeterministic":
        answer["output"] = answer["output"] * np.float32(1 + runs[0] / 64)
    elif FAULT == "zero-output":
        answer["output"] *= 0
    elif FAULT == "wrong-codes":
        answer["packed.k.blocks"] = answer["packed.k.blocks"] ^ 1
    elif FAULT == "raises":
        raise ValueError("the kernel does not like this")
    elif FAULT == "aborts":
        os.abort()
    elif FAULT == "exits":
        print("leaving", file=sys.stderr)
        os._exit(3)
    elif FAULT == "hangs":
        time.sleep(3600)
    return answer


def hostile_send(stream, header, arrays=None):
    is_run = "ok" in header
    if FAULT == "garbage-hello" or (FAULT == "garbage" and is_run):
        stream.write(b"Traceback (most recent call last):\n")
        stream.flush()
        return
    if FAULT == "huge-header" and is_run:
        stream.write(struct.pack("<4sIQ", b"KVP1", 2 ** 31, 0))
        stream.flush()
        return
    if FAULT == "huge-tensors" and is_run:
        stream.write(struct.pack("<4sIQ", b"KVP1", 2, 2 ** 60) + b"{}")
        stream.flush()
        return
    if FAULT == "other-id" and is_run:
        header = dict(header, id=header["id"] + 7)
    if FAULT == "size-lie" and is_run:
        text = (b'{"id":%d,"ok":true,"tensors":[{"name":"output","type":"f32","shape":[4]}]}'
                % header["id"])
        stream.write(struct.pack("<4sIQ", b"KVP1", len(text), 8) + text + bytes(8))
        stream.flush()
        return
    if FAULT == "silent-hello":
        time.sleep(3600)
    send(stream, header, arrays)
    if FAULT == "twice" and is_run:
        send(stream, header, arrays)


kvproof._send = hostile_send
if FAULT == "accepts-everything":
    kvproof.refusal = lambda declared, problem: None
if FAULT == "other-version":
    kvproof._send = lambda stream, header, arrays=None: send(stream, dict(header, version=9), arrays)
if FAULT == "no-formats":
    declared["formats"] = []
kvproof.serve("hostile", declared, run)
