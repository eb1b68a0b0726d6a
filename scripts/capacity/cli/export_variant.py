"""Write a quantised variant with packed weights, as inference tools read them (compressed-tensors, pack-quantized)."""

from pathlib import Path

from capacity.artefacts.manifest import verify
from capacity.cli.arguments import plain_parser
from capacity.errors import UserError
from capacity.jobs.startup import lean_imports


def main() -> None:
    """Export one variant."""
    parser = plain_parser(__doc__)
    parser.add_argument("variant", type=Path, help="a folder of results/variants")
    parser.add_argument("output", type=Path, help="a folder that does not exist yet")
    args = parser.parse_args()
    with lean_imports():
        from capacity.quantization.packed import export_packed
    if not (args.variant / "quantization.json").is_file():
        raise UserError(f"{args.variant}: no quantization.json; name a folder of results/variants")
    verify(args.variant)
    export_packed(args.variant, args.output)
    size = (args.output / "model.safetensors").stat().st_size
    print(f"{args.output}: {size:,} bytes of weights, {(args.variant / 'model.safetensors').stat().st_size:,} before")
