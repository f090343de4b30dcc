"""`oncology view`: brain and growing tumour in three dimensions, in the browser of this or another computer."""

from __future__ import annotations

import math
import os
import socket
import sys
import tempfile
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING

from oncology.cli.runtime import launched_rank
from oncology.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from oncology.imaging import Case
    from oncology.view.server import PageServer
    from oncology.view.sources import Subject

__all__ = ["view"]

LATEST = 3650.0  # day after the last session


def view(
    out: Path,
    /,
    *,
    case: Path | None = None,
    horizon: float | None = None,
    html: Path | None = None,
    port: int | None = None,
    host: str = "127.0.0.1",
    browser: bool = True,
) -> int:
    """Show brain and tumour in three dimensions, from onset to a chosen day, in a browser.

    The page is served on this computer only, at an address with a random token, until Ctrl-C. The browser draws it by
    itself: no graphics card is needed here, and none there.

    Args:
        out: Folder that `oncology fit`, `predict` or `simulate` wrote.
        case: Folder of its case, which gives the scans; by default the one that OUT/config.toml names.
        horizon: Last day to show, days after the last session. Past the end of a fit its growth is solved on first.
        html: Write the page into this file instead: it opens offline and can be sent.
        port: Port to serve on; 0 takes a free one. By default 8765, or a free one where that is taken.
        host: Address to serve on; 0.0.0.0 is open to the network (not encrypted, protected by the token alone).
        browser: Open the browser (never over ssh or without a screen).

    Returns:
        0; wrong input ends with status 2.
    """
    if launched_rank() > 0:
        return 0
    if horizon is not None and not (math.isfinite(horizon) and 0.0 <= horizon <= LATEST):
        raise ConfigError(f"--horizon {horizon:g} is out of range: give days after the last session, 0 to {LATEST:g}")
    if port is not None and not 0 <= port <= 65535:
        raise ConfigError(f"--port {port} is out of range: give 0 (any free one) to 65535")
    from oncology.cli.output import progress

    subject, found = _subject(out, case, horizon)
    with progress() as show:
        from oncology.view.page import build_page

        page = build_page(subject, show)
    if found is None:
        print("oncology: the case was not at hand, so no scan is shown: give --case CASE", file=sys.stderr)
    if html is not None:
        print(_written(html, page))
        return 0
    from oncology.view.server import PageServer, new_token

    with PageServer(page, new_token(), host, port) as server:
        _announce(server, host, browser)
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            print("\noncology: the page is closed", file=sys.stderr)
    return 0


def _subject(out: Path, given: Path | None, horizon: float | None) -> tuple[Subject, Case | None]:
    """What is shown, grown on to the horizon where the folder ends earlier."""
    from oncology.view.sources import continued, read_subject, until

    case = _case(out, given)
    subject = read_subject(out, case)
    if horizon is None:
        return subject, case
    last = subject.days[1] if case is None else case.sessions[-1].day
    wanted = last + horizon
    if wanted <= subject.days[1]:
        return until(subject, wanted), case
    if subject.kind != "fit":
        command = {"prediction": "predict --days", "simulation": "simulate --days"}[subject.kind]
        raise ConfigError(
            f"{out}: ends on day {subject.days[1]:g}, {subject.days[1] - last:g} days after the last session, before "
            f"--horizon {horizon:g}: give a smaller one, or run `oncology {command}` further"
        )
    from oncology.cli.predict import predict

    with tempfile.TemporaryDirectory(prefix="oncology-") as folder:
        prediction = Path(folder, "prediction")
        predict(out, out=prediction, days=(horizon,), case=given, report=False)
        return continued(subject, read_subject(prediction, case)), case


def _case(out: Path, given: Path | None) -> Case | None:
    """The case that was given, else the one that the folder's settings name, if it is still there."""
    from oncology.cli.report import fitted_case
    from oncology.imaging import Case
    from oncology.results.read import read_config

    found = fitted_case(out, given)
    named = read_config(out).get("case")  # as a simulation writes it
    if found is None and isinstance(named, str) and Path(named, "case.toml").is_file():
        return Case.read(named)
    return found


def _written(path: Path, page: str) -> Path:
    """Write the page, whole or not at all."""
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        temporary.write_text(page, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}): choose a folder you can write to") from error
    finally:
        if temporary.is_file():
            temporary.unlink()
    return path


def _announce(server: PageServer, host: str, browser: bool) -> None:
    """Print the address and, where the user sits at another computer, how to get here; open the browser."""
    print(server.address, flush=True)
    remote = bool(os.environ.get("SSH_CONNECTION"))
    screen = sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    if remote:
        port, name = server.server_port, socket.gethostname()
        print(f"On your own computer run:  ssh -N -L {port}:{server.host}:{port} {getuser()}@{name}", file=sys.stderr)
        print("and open the address above there.", file=sys.stderr)
    if host not in ("127.0.0.1", "localhost", "::1"):
        print(
            "oncology: note: served to the network without encryption: who sees the address sees the patient",
            file=sys.stderr,
        )
    print("Ctrl-C ends it.", file=sys.stderr, flush=True)
    if browser and screen and not remote:
        import webbrowser

        webbrowser.open(server.address)
