"""A function of tensors as one compiled graph that later calls reach without torch.compile's guards."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from inspect import getsource
from typing import Any
from unittest.mock import patch

import torch
import torch._functorch.config
from torch import Tensor
from torch._inductor.compile_fx import compile_fx
from torch._inductor.decomposition import decompositions
from torch.fx import GraphModule

from capacity.artefacts.identity import source_digest
from capacity.errors import UserError
from capacity.kernels import library
from capacity.kernels.compile_cache import use_folder_of_processor
from capacity.models.expert_products import experts_in_the_kernel
from capacity.training.joined_products import join_products

Tensors = Sequence[Tensor]
_EMBEDDING = torch.ops.aten.embedding_dense_backward.default
_STOCK_EMBEDDING = decompositions[_EMBEDDING]
MOST_MODELS = 10**6  # of one process


class Compiled:
    """A function of tensors, compiled at the first call; all calls have the shapes and the modes of that one.

    At every call torch.compile asks again whether anything has changed that the graph was made from: 0.2 to 0.5 ms of
    a step of 2 to 9. Here nothing does, so later calls go to the graph itself, with their own arguments and with the
    first call's other tensors, which belong to the model. Inductor's own checks of shapes stay.

    function: of tensors, returns a tuple of tensors. on_cpu: all kernels and their calls become one file of C++: the
    same bits as kernels called from Python, half the time to compile, a tenth less time a step. in_order: products stay
    where the function has them, and are not moved up to others of the same tensor, which would keep all their results.
    cuda_graph: on a GPU kernels are started as CUDA graphs. tracing: entered while the function is made a graph.
    """

    def __init__(
        self,
        function: Callable[..., tuple[Tensor, ...]],
        on_cpu: bool,
        in_order: bool = False,
        cuda_graph: bool = False,
        tracing: Callable[[], AbstractContextManager[None]] = nullcontext,
    ):
        use_folder_of_processor()
        self._on_cpu, self._tracing = on_cpu, tracing
        if on_cpu:
            library.load()
        self._function = torch.compile(function, fullgraph=True, dynamic=False, backend=self._backend)
        # No kernel is chosen by a time that was measured. torch's own tanh of a vector takes three times as long as
        # one by its exponential, which is off by 1e-7 at most.
        self._options = {"deterministic": True, "cpp_wrapper": on_cpu, "cpp.use_decompose_tanh": True}
        if in_order:
            self._options["reorder_for_locality"] = False
        if cuda_graph:
            self._options["triton.cudagraphs"] = True
        self._cuda_graph = cuda_graph
        self._graph: Callable[..., Tensors] | None = None
        self._inputs: list[int | Tensor] = []  # of the graph: an argument's place, or the tensor itself
        self._outputs: list[int] = []  # places among the graph's

    def __call__(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        """What the function returns. Raises UserError at the first call where it cannot be compiled."""
        if self._cuda_graph:
            torch.compiler.cudagraph_mark_step_begin()  # results of the last call may be overwritten
        if self._graph is None:
            return self._first(arguments)
        outputs = self._graph(*[arguments[place] if isinstance(place, int) else place for place in self._inputs])
        return tuple(outputs[place] for place in self._outputs)

    def _first(self, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        try:
            with _for_a_cpu() if self._on_cpu else nullcontext(), _gradients_kept(), _no_limit(), self._tracing():
                results = self._function(*arguments)
        except (torch._dynamo.exc.Unsupported, torch._dynamo.exc.UserError) as error:
            raise UserError(
                "compile: true, but this model is not one graph for torch.compile "
                f"({_reason(error)}); set compile: false"
            ) from error
        except torch._dynamo.exc.BackendCompilerFailed as error:
            raise UserError(
                f"compile: true, but torch.compile failed ({_reason(error)}); install g++ 11 or newer, "
                "or set compile: false"
            ) from error
        graph, inputs, outputs = self._recorded
        self._inputs = [_place(one, arguments, default=one) for one in inputs]
        self._outputs = [_place(one, outputs) for one in results]
        self._graph = graph
        del self._recorded
        return results

    def _backend(self, module: GraphModule, examples: list[Any]) -> Callable[..., Tensors]:
        if self._on_cpu:
            join_products(module)
        graph: Any = compile_fx(module, examples, config_patches=self._options)

        def recording(*inputs: Tensor) -> Tensors:
            outputs = graph(*inputs)
            self._recorded = graph, inputs, outputs
            return outputs

        return recording


@contextmanager
def _for_a_cpu() -> Iterator[None]:
    """Biases are added by whatever comes next: to add one in its product, a CPU copies it for every row first.

    The gradient of an embedding, and products of experts, are made by kernels of this project.
    """
    config: Any = torch.compiler.config  # torch's cache of graphs does not look at what stands for an operator
    others = {torch.ops.aten.addmm.default: _addmm, _EMBEDDING: _embedding_gradient}
    tag = config.patch(cache_key_tag=f"{_decomposed()}{library.operators.name}")
    with patch.dict(decompositions, others), tag, experts_in_the_kernel():
        yield


def _decomposed() -> str:
    """A digest of what stands for an operator."""
    return source_digest(getsource(_addmm) + getsource(_embedding_gradient))


def _addmm(bias: Tensor, left: Tensor, right: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """The product and the sum, with a dimension that keeps inductor from putting the two together again."""
    product = torch.mm(left, right)
    return (product if alpha == 1 else alpha * product)[None].add(bias if beta == 1 else beta * bias)[0]


def _embedding_gradient(slopes: Tensor, tokens: Tensor, V: int, padding: int, by_frequency: bool) -> Tensor:
    if slopes.dtype != torch.float32 or padding >= 0 or by_frequency:
        return _STOCK_EMBEDDING(slopes, tokens, V, padding, by_frequency)
    return library.operators.embedding_gradient(slopes.flatten(0, -2), tokens.flatten(), V)


def _gradients_kept() -> AbstractContextManager[None]:
    """A graph with an autograd.Function goes into torch's cache too: its gradient stands in the graph."""
    config: Any = torch._functorch.config
    return config.patch(autograd_cache_allow_custom_autograd_functions=True)


def _no_limit() -> AbstractContextManager[None]:
    """A process compiles a ninth model too: to torch.compile all are one function, of other shapes each time."""
    config: Any = torch._dynamo.config
    return config.patch(recompile_limit=MOST_MODELS, accumulated_recompile_limit=MOST_MODELS)


def _place(one: Tensor, among: Tensors, default: Any = None) -> Any:
    """Where a tensor, the very object, stands among others."""
    return next((place for place, other in enumerate(among) if other is one), default)


def _reason(error: Exception) -> str:
    """The first line that says something: torch's own first one may only name who raised it."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return next((line for line in lines if not line.endswith("raised:")), type(error).__name__)
