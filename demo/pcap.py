"""Reads what tcpdump wrote: the TCP segments in a pcap file of an Ethernet link."""
import struct
from collections import namedtuple

Segment = namedtuple("Segment", "source destination source_port destination_port payload")


def tcp(data):
    """The TCP segments in a pcap file's bytes, in their order; fragments are no segments."""
    magic = data[:4]
    order = {b"\xd4\xc3\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">"}.get(magic)
    if order is None or struct.unpack(order + "I", data[20:24])[0] != 1:
        raise ValueError("not a pcap file of an Ethernet link")
    at, segments = 24, []
    while at + 16 <= len(data):
        length = struct.unpack(order + "I", data[at + 8:at + 12])[0]
        segment = ethernet(data[at + 16:at + 16 + length])
        if segment:
            segments.append(segment)
        at += 16 + length
    return segments


def ethernet(frame):
    kind, packet = struct.unpack("!H", frame[12:14])[0], frame[14:]
    if kind == 0x0800 and packet[9] == 6 and struct.unpack("!H", packet[6:8])[0] & 0x1FFF == 0:
        header, end = (packet[0] & 15) * 4, struct.unpack("!H", packet[2:4])[0]
        return segment(packet[12:16], packet[16:20], packet[header:end])
    if kind == 0x86DD and packet[6] == 6:
        return segment(packet[8:24], packet[24:40], packet[40:40 + struct.unpack("!H", packet[4:6])[0]])
    return None


def segment(source, destination, tcp):
    ports = struct.unpack("!HH", tcp[:4])
    return Segment(source, destination, *ports, tcp[(tcp[12] >> 4) * 4:])
