"""Preset files: methods with settings that were chosen for a model by measurement, and their measured effect."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.files import read_mapping
from lvlm_saliency.short import shown, some

FORMAT = 1
ENDINGS = (".yaml", ".yml")
FILES = (".safetensors", ".txt")
"""Endings of files that may stand beside a preset and that it names without a folder."""
HEAD = "# Settings chosen by measuring, for --method: give it this file's name. No methods: plain greedy decoding.\n"


@dataclass(frozen=True)
class Preset:
    """Methods with settings, and the model for which they were chosen.

    Attributes:
        methods: used together; an empty list is greedy decoding.
        model: the model: `id`, `type` (`config.model_type`), `layers` of the decoder, `weights` (a fingerprint).
        record: how they were chosen, their measured effect and the command, as JSON values.
    """

    methods: Sequence[Any]
    model: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return shown(self, methods=list(self.methods), model=dict(self.model), record=some(self.record))

    def text(self) -> str:
        """The file's content. Every setting is written, so that presets do not change with a default."""
        settings = {method.name: _plain(dataclasses.asdict(method)) for method in self.methods}
        values = {"format": FORMAT, "model": dict(self.model), "methods": settings, **self.record}
        return HEAD + yaml.safe_dump(
            _plain(values), sort_keys=False, allow_unicode=True, width=110, default_flow_style=None
        )

    @classmethod
    def read(cls, path: str | Path) -> Preset:
        """The preset in a file.

        Raises:
            InputError: the file cannot be read or holds no preset of this format.
            SettingError: a method or setting that does not exist, or a value out of range.
        """
        from lvlm_saliency.interventions.registry import method

        values = read_mapping(path, "a preset as `lvlm-saliency tune` writes it")
        if "methods" not in values or "format" not in values:
            raise InputError(f"{path} is no preset: it needs `format: {FORMAT}` and `methods:` with names and settings")
        if values.pop("format") != FORMAT:
            raise InputError(f"{path}: another format than {FORMAT}; it comes from another version of lvlm-saliency")
        chosen, model = values.pop("methods") or {}, values.pop("model", None) or {}
        if not isinstance(chosen, dict) or not all(isinstance(knobs or {}, dict) for knobs in chosen.values()):
            raise InputError(f"{path}: methods must be written as `NAME: {{SETTING: VALUE}}`")
        if not isinstance(model, dict):
            raise InputError(f"{path}: model must be written as `id: ...`, `type: ...`")
        try:
            methods = [
                method(str(name), **{str(k): _beside(v, Path(path).parent) for k, v in (knobs or {}).items()})
                for name, knobs in chosen.items()
            ]
        except SettingError as error:
            raise SettingError(f"{path}: {error}") from error
        return cls(methods, model, values)


def _beside(value: Any, folder: Path) -> Any:
    """A setting that names a file which lies beside the preset, as the path of that file; any other as it is."""
    if isinstance(value, str) and value == Path(value).name and value.endswith(FILES) and (folder / value).is_file():
        return str(folder / value)
    return value


def load_preset(path: str | Path) -> list[Any]:
    """The methods of a preset file, as `generate(methods=...)` takes them; empty for plain greedy decoding.

    Raises:
        InputError, SettingError: as `Preset.read`.
    """
    return list(Preset.read(path).methods)


def is_preset(spec: Any) -> bool:
    """Whether this names a preset file and not a method."""
    return isinstance(spec, str) and spec.strip().lower().endswith(ENDINGS)


def model_of(model: Any) -> dict[str, Any]:
    """The entry `model` of a preset for this model."""
    return {"type": model.config.model_type, "layers": model.config.get_text_config().num_hidden_layers}


def notes(given: Iterable[Any], model: Any) -> list[str]:
    """A line for each preset file in `given` that was chosen for another kind of model than this one."""
    mine, lines = model_of(model), []
    for spec in filter(is_preset, given):
        theirs = Preset.read(spec.strip()).model
        if any(theirs.get(name, value) != value for name, value in mine.items()):
            lines.append(
                f"{spec} was chosen for {theirs.get('id', 'another model')} ({_kind(theirs)}), and this model is "
                f"{_kind(mine)}: what it does here is not known"
            )
    return lines


def _kind(model: Mapping[str, Any]) -> str:
    return f"{model.get('type', 'unknown')} of {model.get('layers', '?')} layers"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
