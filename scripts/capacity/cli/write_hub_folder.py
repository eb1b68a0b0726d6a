"""A folder for the Hugging Face hub from a variant of the capacity table or from a dataset, with its card."""

import re
from pathlib import Path

from capacity.cli.arguments import TABLE, plain_parser
from capacity.errors import UserError
from capacity.jobs.startup import lean_imports
from capacity.plan.fixed_paths import RESULTS

LICENSE = "apache-2.0"  # of what is drawn and trained here


def main() -> None:
    """Write one folder."""
    parser = plain_parser(__doc__)
    parser.add_argument("artefact", type=Path, help="a folder of results/variants or of results/datasets")
    parser.add_argument("output", type=Path, help="a folder that does not exist yet")
    parser.add_argument("--license", help="as the hub names it; apache-2.0, but of a table of your own")
    parser.add_argument("--dataset", metavar="USER/NAME", help="of a model: where its dataset is on the hub")
    args = parser.parse_args()
    if args.license is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", args.license):
        raise UserError(f"--license: {args.license!r}; give it as the hub names it, such as cc-by-4.0 or other")
    stage = args.artefact.absolute().parent.name  # a link may lead to a disk where it is called otherwise
    if stage == "datasets":
        from capacity.hub.dataset_folder import own_content, write_dataset_folder

        if args.license is None and (own := own_content(args.artefact)):
            raise UserError(f"--license: {args.artefact} holds {own}; name the licence")
        write_dataset_folder(args.artefact, args.output, args.license or LICENSE)
    elif stage == "variants":
        from capacity.tables.table import read_table  # takes pandas along

        with lean_imports():
            from capacity.hub.dataset_folder import own_content
            from capacity.hub.model_folder import refuse_own_model, world_of, write_model_folder
        refuse_own_model(args.artefact)
        table = read_table(TABLE)
        rows = table[table["variant_id"] == args.artefact.name].to_dict("records")
        if not rows:
            raise UserError(
                f"{args.artefact}: no row of {TABLE} is about it; `make table` with the CONFIG, STUDY and SCALE that "
                "it was made with"
            )
        if args.license is None and (own := own_content(world_of(rows[0], RESULTS))):
            raise UserError(f"--license: {args.artefact} was trained on {own}; name the licence")
        if args.dataset and not re.fullmatch(r"[\w.-]+/[\w.-]+", args.dataset):
            raise UserError(f"--dataset: {args.dataset!r}; give USER/NAME, as the hub names it")
        write_model_folder(rows[0], RESULTS, args.output, args.license or LICENSE, args.dataset)
        if rows[0]["kind"] == "records":
            print(f"{args.output}/README.md quotes a row of your table, as an example of what can be asked")
    else:
        raise UserError(f"{args.artefact}: name a folder of results/variants or of results/datasets")
    print(f"{args.output} is ready; `capacity push {args.output} user/name --dry-run` says what would be uploaded")
