"""Action types made at run time out of installed message types.

An action is three services and two topics. Those of cancelling and of the status are installed
with every ROS; the others are made here: each message is a row of installed messages, one after
the other, which in CDR is the same as a struct of them. So rclpy's own ActionServer and
ActionClient, rcl_action and Fast DDS run as they do for a generated type.

A C message here is an array of pointers to the C messages of its members; nobody but the
callbacks below looks inside. Layouts: ``rosidl_runtime_c`` (``*_type_support_struct.h``) and
``rosidl_typesupport_fastrtps_cpp`` (``message_type_support.h``) of ROS 2 Jazzy.
"""

from __future__ import annotations

import ctypes
from ctypes import (
    CFUNCTYPE,
    POINTER,
    PYFUNCTYPE,
    Structure,
    c_bool,
    c_char,
    c_char_p,
    c_size_t,
    c_uint32,
    c_void_p,
    py_object,
)
from typing import Any, NamedTuple

from action_msgs.msg import GoalStatusArray
from action_msgs.srv import CancelGoal
from builtin_interfaces.msg import Time
from rclpy.type_support import check_for_type_support
from std_msgs.msg import Bool, Int8
from std_srvs.srv import SetBool
from unique_identifier_msgs.msg import UUID

_Serialize = CFUNCTYPE(c_bool, c_void_p, c_void_p)
_Size = CFUNCTYPE(c_uint32, c_void_p)
_Find = CFUNCTYPE(c_void_p, c_void_p, c_char_p)
_MaxSize = CFUNCTYPE(c_size_t, POINTER(c_char))
_Create = CFUNCTYPE(c_void_p)
_Destroy = CFUNCTYPE(None, c_void_p)
_FromPy = PYFUNCTYPE(c_bool, py_object, c_void_p)
_ToPy = PYFUNCTYPE(py_object, c_void_p)
#: More than any member needs to be aligned.
_PADDING = 8
_FOR_EVER: list[Any] = []  # what C points to


class _Callbacks(Structure):
    _fields_ = (
        ("namespace", c_char_p),
        ("name", c_char_p),
        ("serialize", _Serialize),
        ("deserialize", _Serialize),
        ("size", _Size),
        ("max_size", _MaxSize),
        ("key", c_void_p),
    )


class _MessageSupport(Structure):
    _fields_ = (
        ("identifier", c_char_p),
        ("data", c_void_p),
        ("find", c_void_p),
        ("hash", c_void_p),
        ("description", c_void_p),
        ("sources", c_void_p),
    )


class _ServiceCallbacks(Structure):
    _fields_ = (
        ("namespace", c_char_p),
        ("name", c_char_p),
        ("request", c_void_p),
        ("response", c_void_p),
    )


class _ServiceSupport(Structure):
    _fields_ = (
        ("identifier", c_char_p),
        ("data", c_void_p),
        ("find", c_void_p),
        ("request", c_void_p),
        ("response", c_void_p),
        ("event", c_void_p),
        ("create_event", c_void_p),
        ("destroy_event", c_void_p),
        ("hash", c_void_p),
        ("description", c_void_p),
        ("sources", c_void_p),
    )


class _ActionSupport(Structure):
    _fields_ = (
        ("goal", c_void_p),
        ("result", c_void_p),
        ("cancel", c_void_p),
        ("feedback", c_void_p),
        ("status", c_void_p),
        ("hash", c_void_p),
        ("description", c_void_p),
        ("sources", c_void_p),
    )


class Member(NamedTuple):
    """A field; ``bare`` is a primitive, taken out of the ``data`` of its message type."""

    name: str
    type: Any
    bare: bool = False


def _pointer(capsule: Any) -> int:
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = c_void_p, [py_object, c_char_p]
    found = get(capsule, None)
    assert found
    return int(found)


def _capsule(pointer: int | None) -> Any:
    make = ctypes.pythonapi.PyCapsule_New
    make.restype, make.argtypes = py_object, [c_void_p, c_char_p, c_void_p]
    return make(pointer, None, None)


def _address(function: Any) -> int | None:
    _FOR_EVER.append(function)
    return ctypes.cast(function, c_void_p).value


def _support(cls: Any, kind: str, of: str = "fastrtps_c") -> int:
    """The type support of an installed type, made by its C library; ``kind`` message, service."""
    package, sub = cls.__module__.split(".")[:2]
    library = ctypes.CDLL(f"lib{package}__rosidl_typesupport_{of}.so")
    prefix = f"rosidl_typesupport_{of}__get_{kind}_type_support_handle"
    find = getattr(library, f"{prefix}__{package}__{sub}__{cls.__name__}")
    find.restype = c_void_p
    return int(find())


def _find(support: int, identifier: bytes) -> int | None:
    """Our support by its identifier; tools that ask for a description get that of a Bool."""
    if identifier == b"rosidl_typesupport_introspection_c":
        return _support(Bool, "message", "introspection_c")
    ours = _MessageSupport.from_address(support).identifier
    return support if identifier == ours else None


class _Part:
    """One member's functions in C."""

    def __init__(self, member: Member) -> None:
        check_for_type_support(member.type)
        kind = type(member.type)
        support = _MessageSupport.from_address(_support(member.type, "message"))
        assert support.data
        self.member = member
        self.callbacks = _Callbacks.from_address(support.data)
        self.create = _Create(_pointer(kind._CREATE_ROS_MESSAGE))
        self.destroy = _Destroy(_pointer(kind._DESTROY_ROS_MESSAGE))
        self._from_py = _FromPy(_pointer(kind._CONVERT_FROM_PY))
        self._to_py = _ToPy(_pointer(kind._CONVERT_TO_PY))

    def fill(self, message: Any, into: int) -> bool:
        value = getattr(message, self.member.name)
        whole = self.member.type(data=value) if self.member.bare else value
        return bool(self._from_py(whole, into))

    def read(self, message: Any, address: int) -> None:
        value = self._to_py(address)
        setattr(message, self.member.name, value.data if self.member.bare else value)


class _Codec:
    """What rclpy and Fast DDS call for one composed message."""

    def __init__(self, make: Any, members: tuple[Member, ...]) -> None:
        self._make = make
        self._parts = [_Part(member) for member in members]
        self._alive: dict[int, Any] = {}

    def create(self) -> int:
        row = (c_void_p * len(self._parts))(*(part.create() for part in self._parts))
        self._alive[ctypes.addressof(row)] = row
        return ctypes.addressof(row)

    def destroy(self, address: int) -> None:
        for part, each in zip(self._parts, self._alive.pop(address), strict=True):
            part.destroy(each)

    def from_py(self, message: Any, address: int) -> bool:
        return all(part.fill(message, each) for part, each in self._rows(address))

    def to_py(self, address: int) -> Any:
        message = self._make()
        for part, each in self._rows(address):
            part.read(message, each)
        return message

    def serialize(self, address: int, cdr: int) -> bool:
        return all(part.callbacks.serialize(each, cdr) for part, each in self._rows(address))

    def deserialize(self, cdr: int, address: int) -> bool:
        return all(part.callbacks.deserialize(cdr, each) for part, each in self._rows(address))

    def size(self, address: int) -> int:
        return sum(part.callbacks.size(each) + _PADDING for part, each in self._rows(address))

    def max_size(self, bounds: Any) -> int:
        bounds[0] = b"\0"  # unbounded: ask for the size of each message
        return 0

    def _rows(self, address: int) -> Any:
        return zip(self._parts, self._alive[address], strict=True)


def _meta(name: str, support: Structure) -> Any:
    """A metaclass as generated classes have, which holds the type support."""
    _FOR_EVER.append(support)
    return type(
        f"Metaclass_{name}", (type,), {"_TYPE_SUPPORT": _capsule(ctypes.addressof(support))}
    )


def compose_message(package: str, name: str, *members: Member) -> Any:
    """A message class ``<package>/action/<name>`` with ``members``."""

    def initialise(self: Any, **values: Any) -> None:
        for member in members:
            made = member.type()
            default = made.data if member.bare else made
            setattr(self, member.name, values.pop(member.name, default))
        assert not values

    def make() -> Any:
        return made()

    codec = _Codec(make, members)
    callbacks = _Callbacks(
        f"{package}::action".encode(),
        name.encode(),
        _Serialize(codec.serialize),
        _Serialize(codec.deserialize),
        _Size(codec.size),
        _MaxSize(codec.max_size),
        None,
    )
    model = _MessageSupport.from_address(_support(Bool, "message"))
    support = _MessageSupport.from_buffer_copy(model)
    support.data = ctypes.addressof(callbacks)
    support.find = _address(_Find(_find))
    _FOR_EVER.extend((callbacks, codec))
    meta = _meta(name, support)
    meta._CREATE_ROS_MESSAGE = _capsule(_address(_Create(codec.create)))
    meta._DESTROY_ROS_MESSAGE = _capsule(_address(_Destroy(codec.destroy)))
    meta._CONVERT_FROM_PY = _capsule(_address(_FromPy(codec.from_py)))
    meta._CONVERT_TO_PY = _capsule(_address(_ToPy(codec.to_py)))
    made = meta(name, (), {"__init__": initialise, "__module__": f"{package}.action"})
    return made


def compose_service(package: str, name: str, request: Any, response: Any) -> Any:
    """A service class ``<package>/action/<name>`` of two composed messages."""
    ask, answer = (_pointer(type(each)._TYPE_SUPPORT) for each in (request, response))
    callbacks = _ServiceCallbacks(f"{package}::action".encode(), name.encode(), ask, answer)
    support = _ServiceSupport.from_buffer_copy(
        _ServiceSupport.from_address(_support(SetBool, "service"))
    )
    support.data = ctypes.addressof(callbacks)
    support.request, support.response = ask, answer
    _FOR_EVER.append(callbacks)
    return _meta(name, support)(
        name, (), {"Request": request, "Response": response, "Event": None}
    )


def compose_action(package: str, name: str, *, goal: Any, result: Any, feedback: Any) -> Any:
    """An action class ``<package>/action/<name>`` with installed messages as its three parts."""

    def message(suffix: str, *members: Member) -> Any:
        return compose_message(package, f"{name}_{suffix}", *members)

    def service(suffix: str, request: Any, response: Any) -> Any:
        return compose_service(package, f"{name}_{suffix}", request, response)

    for each in (CancelGoal, GoalStatusArray):
        check_for_type_support(each)
    goal_id = Member("goal_id", UUID)
    impl = {
        "SendGoalService": service(
            "SendGoal",
            message("SendGoal_Request", goal_id, Member("goal", goal)),
            message(
                "SendGoal_Response", Member("accepted", Bool, bare=True), Member("stamp", Time)
            ),
        ),
        "GetResultService": service(
            "GetResult",
            message("GetResult_Request", goal_id),
            message(
                "GetResult_Response", Member("status", Int8, bare=True), Member("result", result)
            ),
        ),
        "FeedbackMessage": message("FeedbackMessage", goal_id, Member("feedback", feedback)),
        "CancelGoalService": CancelGoal,
        "GoalStatusMessage": GoalStatusArray,
    }
    kinds = ("SendGoalService", "GetResultService", "CancelGoalService", "FeedbackMessage",
             "GoalStatusMessage")  # fmt: skip
    supports = [_pointer(type(impl[kind])._TYPE_SUPPORT) for kind in kinds]
    model = _ServiceSupport.from_address(_support(SetBool, "service"))
    support = _ActionSupport(*supports, model.hash, model.description, model.sources)
    parts = {"Goal": goal, "Result": result, "Feedback": feedback}
    return _meta(name, support)(name, (), {"Impl": type("Impl", (), impl), **parts})
