"""`tierfs iam`: the least rights that a mount with these settings needs, as a policy to give to Amazon."""

import argparse
import json
from pathlib import Path
from typing import Any

from tierfs import config
from tierfs.cli import mounting
from tierfs.control.exitcodes import ExitCode, ExitError
from tierfs.policy import iam

_EXAMPLES = """\
examples:
  tierfs iam s3://bucket/prefix > policy.json
  tierfs iam s3://bucket --config /etc/tierfs/tierfs.toml --events-setup
  aws iam put-user-policy --user-name tierfs --policy-name tierfs --policy-document file://policy.json
"""


def add_parser(verbs: Any) -> argparse.ArgumentParser:
    """The verb and its arguments."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "iam",
        help="print the least rights that a mount needs in its bucket",
        description="Prints a policy of Amazon's IAM with what a mount with these settings asks for, and nothing else.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SOURCE", help="s3://bucket/prefix")
    parser.add_argument("--config", default="", metavar="FILE", help="settings; default: /etc/tierfs/tierfs.toml")
    parser.add_argument("-o", dest="options", action="append", default=[], metavar="OPT[,OPT]", help="as for mount")
    parser.add_argument("--undelete", action="store_true", help="also for tierctl versions and undelete")
    parser.add_argument(
        "--restore", action="store_true", help="also for tierctl restore where opens ask for nothing (archive.open)"
    )
    parser.add_argument("--events-setup", action="store_true", help="also for tierctl events setup")
    parser.add_argument("--kms-key", default="", metavar="ARN", help="the key that the bucket encrypts with")
    return parser


def run(options: argparse.Namespace) -> int:
    """Prints the document. ExitError for a source that no policy can speak of; ConfigError."""
    words = mounting.parse_options(options.options)
    file = options.config or words.config
    settings = config.load(Path(file).absolute() if file else None, words.settings)
    source = mounting.parse_source(options.source)
    if not source.startswith("s3://"):
        raise ExitError(ExitCode.USAGE, f"{source} needs no policy: rights in a directory are its permissions")
    bucket, _, prefix = source.removeprefix("s3://").partition("/")
    use = iam.Use(
        bucket=bucket,
        prefix=f"{prefix}/" if prefix else "",
        read_only=settings.mount.read_only,
        queue_url=settings.events.queue_url if settings.events.source == "sqs" else "",
        undeletes=options.undelete,
        restores=options.restore or settings.archive.open != "fail",
        sets_up_events=options.events_setup,
        kms_key_arn=options.kms_key,
    )
    try:
        document = iam.policy(use)
    except ValueError as error:
        raise ExitError(ExitCode.CONFIG, str(error)) from None
    print(json.dumps(document, indent=2))
    return ExitCode.OK
