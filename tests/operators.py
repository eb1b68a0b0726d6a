"""Which operators of torch a call comes to, those inside compiled graphs too."""

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode


class Called(TorchDispatchMode):
    """Notes the names of the operators that are called inside it."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, operator: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        self.names.append(str(operator))
        return operator(*arguments, **(named or {}))

    def any(self, part: str) -> bool:
        """Whether one's name has this part."""
        return any(part in name for name in self.names)
