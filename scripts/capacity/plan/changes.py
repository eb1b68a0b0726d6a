"""What differs between a spec and an artefact that was made, in words."""

from typing import Any

from capacity.artefacts.spec import Spec


def differences(spec: Spec, manifest: dict[str, Any]) -> list[str]:
    """What differs between a spec and a made artefact: spec keys, code modules, packages; in words."""
    words = [in_words(key, old, new) for key, old, new in compare(manifest["settings"], spec.settings)]
    if manifest["code"]["digest"] != spec.code:
        now, then = spec.present_modules(), manifest["code"]["modules"]
        changed = sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))
        words += [f"code of {name.replace('__main__', spec.script)} changed" for name in changed]
    words += [
        f"{package} {manifest['packages'].get(package)} -> {version}"
        for package, version in spec.packages.items()
        if manifest["packages"].get(package) != version
    ]
    return words


def compare(old: Any, new: Any, key: str = "") -> list[tuple[str, Any, Any]]:
    """Dotted keys whose values differ, with both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(name for name in new if name not in old)]
        return [
            change
            for name in keys
            for change in compare(old.get(name), new.get(name), f"{key}.{name}" if key else name)
        ]
    return [] if old == new else [(key, old, new)]


def in_words(key: str, old: Any, new: Any) -> str:
    """One change of a key; of rows only that they changed."""
    rows = isinstance(new, list) and any(isinstance(item, dict) for item in new)
    return f"{key} changed" if rows else f"{key} {_show(old)} -> {_show(new)}"


def _show(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else text[:37] + "..."
