"""Training with quantised weights: every forward pass sees rounded weights, gradients pass straight through."""

from torch import Tensor
from transformers import PreTrainedModel

from capacity.quantization.rounding import make_grid
from capacity.quantization.spec import RoundToNearest
from capacity.quantization.tensors import chosen_places


class StraightThrough:
    """Rounds a model's tensors as a scheme says, on a grid that follows the weights from step to step.

    A rounded weight has the gradient of the weight itself (Bengio et al., arXiv 1308.3432). Rounding the
    trained weights to nearest by the same scheme gives the model that was trained, up to the last bit of a sum.
    """

    def __init__(self, model: PreTrainedModel, scheme: RoundToNearest):
        self.numbers = scheme.numbers
        self.places = {place.name: place for place in chosen_places(model, scheme)}

    def __call__(self, name: str, weight: Tensor) -> Tensor:
        """A tensor as the forward pass sees it; one that the scheme leaves alone comes back as it is."""
        place = self.places.get(name)
        if place is None:
            return weight
        fixed = weight.detach()
        rounded = [make_grid(matrix, self.numbers).snap(matrix) for matrix in place.matrices(fixed)]
        return weight + (place.whole(rounded, weight) - fixed)
