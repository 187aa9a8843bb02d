"""Prints each message of a health stream, in hexadecimal."""

import sys

import grpc

with grpc.insecure_channel(sys.argv[1]) as channel:
    watch = channel.unary_stream("/grpc.health.v1.Health/Watch")
    for message in watch(b""):
        print(message.hex(), flush=True)
