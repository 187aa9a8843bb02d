"""Prints the kind of each event, until one is not valid.

The address comes first, then the kinds that the message has, each with its number.
"""

import sys

import grpc
import protovalidate
from protobuf import Registry
from protobuf.txtpb import message_from_text
from protobuf.wkt.google.protobuf.descriptor_pb import FileDescriptorSet

FILE = """
file {
  name: "event.proto"
  syntax: "proto3"
  message_type { name: "Anything" }
  message_type {
    name: "OperationEvent"
    oneof_decl { name: "event" options { [buf.validate.oneof] { required: true } } }
    %s
  }
}
"""
KIND = """
    field {
      name: "%s" number: %s label: LABEL_OPTIONAL
      type: TYPE_MESSAGE type_name: ".Anything" oneof_index: 0
    }
"""

address, *kinds = sys.argv[1:]
kinds = "".join(KIND % tuple(kind.split("=")) for kind in kinds)
rules = Registry(protovalidate.FieldPathPb.desc().file)
files = message_from_text(FileDescriptorSet, FILE % kinds, registry=rules)
message = files.to_registry().message("OperationEvent").type

with grpc.insecure_channel(address) as channel:
    events = channel.unary_stream("/v1.Backrest/GetOperationEvents")
    for data in events(b""):
        event = message.from_binary(data)
        try:
            protovalidate.validate(event)
        except protovalidate.ValidationError as error:
            print(error, flush=True)
            break
        print(event.event.field, flush=True)
