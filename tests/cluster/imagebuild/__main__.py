"""`python -m imagebuild [NAME…]`: builds the images, and loads them into the cluster that is up."""

import argparse
import sys
import time
from collections.abc import Sequence

from imagebuild.builder import Builder, Built, fingerprint_of, opened_engine, recall
from imagebuild.catalogue import ROOT, STATE_DIR, Image, catalogue
from imagebuild.commands import BuildError
from imagebuild.delivery import find_target
from imagebuild.engines import choose_engine_name


def main() -> int:
    """Build what has changed, deliver what the cluster lacks; say what was done."""
    options = _parser().parse_args()
    try:
        options.engine = choose_engine_name(options.engine)
        built = build(_chosen(options.names), options)
        if options.load:
            deliver(built)
    except BuildError as error:
        sys.stderr.write(f"images: {error}\n")
        return 1
    return 0


def build(images: Sequence[Image], options: argparse.Namespace) -> list[Built]:
    """Build the images that have changed; return all of them.

    Raises:
        BuildError: one can't be built.
    """
    STATE_DIR.mkdir(parents=True, exist_ok=True)
    wanted = {image.name: fingerprint_of(image, options.engine) for image in images}
    found = {
        image.name: None if options.rebuild else recall(image, wanted[image.name])
        for image in images
    }
    for one in found.values():
        if one is not None:
            _say(f"{_line(one)}, unchanged")
    changed = [image for image in images if found[image.name] is None]
    if changed:
        with opened_engine(options.engine) as engine:
            builder = Builder(engine, _say)
            for image in changed:
                # Who had the engine before may have built the very same.
                one = None if options.rebuild else recall(image, wanted[image.name])
                one = one or builder.build(image, wanted[image.name])
                found[image.name] = one
                _say(f"{_line(one)}, built" + (f" in {one.took_s:.1f} s" if one.took_s else ""))
    return [one for one in found.values() if one is not None]


def deliver(built: Sequence[Built]) -> None:
    """Load into the cluster what it hasn't got; say so if none is up.

    Raises:
        BuildError: the cluster doesn't take them.
    """
    target = find_target()
    if isinstance(target, str):
        _say(f"{target}; the archives are in {STATE_DIR.relative_to(ROOT)}")
        return
    fingerprints = {one.name: one.fingerprint for one in built}
    missing = target.lacks(fingerprints)
    if missing:
        started_s = time.monotonic()
        log = STATE_DIR / "load.log"
        log.write_text("")
        target.load([one.archive for one in built if one.name in missing], log)
        target.note(fingerprints)
        took_s = time.monotonic() - started_s
        _say(f"loaded into the cluster: {', '.join(missing)}, {took_s:.1f} s")
    else:
        _say("the cluster has them all")


def _chosen(names: Sequence[str]) -> list[Image]:
    images = catalogue()
    unknown = sorted(set(names) - {image.name for image in images})
    if unknown:
        known = ", ".join(image.name for image in images)
        raise BuildError(f"there is no image called {unknown[0]}; there are {known}")
    return [image for image in images if image.name in names] if names else images


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("imagebuild", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="an image; default: all")
    parser.add_argument("--engine", choices=["docker", "podman", "buildah"], help="default: found")
    parser.add_argument("--rebuild", action="store_true", help="build what is unchanged as well")
    parser.add_argument("--no-load", dest="load", action="store_false", help="only build")
    return parser


def _line(one: Built) -> str:
    return f"{one.name}: {one.reference}, {one.size_bytes / 1e6:.0f} MB"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
