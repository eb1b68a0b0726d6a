"""Whether schemes can be applied to a model that is not of the paper, found before any job by applying them.

Run by the main process in a process of its own; no job imports this.
"""

import torch

from capacity.errors import UserError
from capacity.models.external import name_of, one_line
from capacity.models.external_checks import V, shaken, too_large, width_of
from capacity.models.spec import ExternalModel
from capacity.quantization.quantize import check_fits
from capacity.quantization.spec import Scheme, scheme_slug


def check_schemes(model: ExternalModel, schemes: list[Scheme]) -> None:
    """Quantise a model for a small vocabulary by each scheme. Raises UserError where one cannot be applied to it."""
    if too_large(model):
        return
    built = shaken(model).eval()
    widest = max((parameter.shape[-1] for parameter in built.parameters() if parameter.ndim > 1), default=1)
    generator = torch.Generator().manual_seed(1)
    text = torch.randint(V, (2 * widest, width_of(built)), generator=generator).split(256)
    for scheme in schemes:
        try:
            check_fits(built, scheme, list(text))
        except UserError as error:
            raise UserError(f"{name_of(model)}: {scheme_slug(scheme)}: {error}") from None
        except Exception as error:  # whatever an external class raises
            raise UserError(f"{name_of(model)}: {scheme_slug(scheme)}: cannot be applied: {one_line(error)}") from error
