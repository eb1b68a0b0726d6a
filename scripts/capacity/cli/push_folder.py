"""Upload a folder that `capacity hub` wrote to the Hugging Face hub, with the token of `hf auth login`."""

import os
from pathlib import Path

from capacity.cli.arguments import plain_parser


def main() -> None:
    """Upload, or say what would be."""
    parser = plain_parser(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("repository", metavar="USER/NAME")
    parser.add_argument("--private", action="store_true", help="a repository that only its owner sees")
    parser.add_argument("--replace", action="store_true", help="remove files there that the folder does not have")
    parser.add_argument("--dry-run", action="store_true", help="check all, send nothing")
    args = parser.parse_args()
    os.environ.pop("HF_HUB_OFFLINE", None)
    from capacity.hub.push import push

    print("\n".join(push(args.folder, args.repository, args.private, args.dry_run, args.replace)))
