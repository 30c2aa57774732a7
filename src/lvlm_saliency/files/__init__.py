"""Reads users' files within limits, with a one-line error for whatever is wrong with them; writes files atomically.

Every file that a user names is opened here: only ordinary files (no pipe, device or folder, so that nothing hangs), up
to a size, as UTF-8, with JSON, YAML and tensors looked at before they are used. Each error names the file.
"""

from .json_values import parse_json, read_json
from .opening import UnreadableError, check_file, decoded, open_file, read_bytes, read_text
from .writing import append_bytes, check_writable, make_folder, replacing, write_bytes, write_text
from .yaml_values import read_mapping

__all__ = [
    "UnreadableError",
    "append_bytes",
    "check_file",
    "check_writable",
    "decoded",
    "make_folder",
    "open_file",
    "parse_json",
    "read_bytes",
    "read_json",
    "read_mapping",
    "read_text",
    "replacing",
    "write_bytes",
    "write_text",
]
