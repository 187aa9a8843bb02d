"""Prints each message of a health stream, in hexadecimal.

With `ask`, it asks for keepalives, and also prints the promise of the server and each status as protobuf decodes it.
"""

import sys

import grpc

address, *ask = sys.argv[1:]
with grpc.insecure_channel(address) as channel:
    watch = channel.unary_stream("/grpc.health.v1.Health/Watch")
    if not ask:
        for message in watch(b""):
            print(message.hex(), flush=True)
    else:
        # The status is an enum with the number 1, so a message with one integer reads it.
        from protobuf.wkt.google.protobuf.wrappers_pb import Int32Value

        statuses = watch(b"", metadata=[("stream-keepalive", "1")])
        print("promise", dict(statuses.initial_metadata())["stream-keepalive"], flush=True)
        for message in statuses:
            print(message.hex(), "is", Int32Value.from_binary(message).value, flush=True)
