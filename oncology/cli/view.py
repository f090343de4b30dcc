"""`oncology view`: brain and growing tumour in three dimensions, in the browser of this or another computer."""

from __future__ import annotations

import math
import os
import socket
import sys
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING

from oncology.cli.report import NO_CASE
from oncology.errors import ConfigError
from oncology.parallel import launched_rank

if TYPE_CHECKING:
    from oncology.view.server import PageServer

__all__ = ["view"]

LATEST = 3650.0  # day after the last session


def view(
    out: Path,
    other: Path | None = None,
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
        other: Another such folder to show beside it, with the same cursor and day.
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

    with progress() as show:
        from oncology.api.pages import view_folder, view_pair

        made = view_folder(out, case, horizon, show) if other is None else view_pair(out, other, case, horizon, show)
    if not made.with_case:
        print(NO_CASE, file=sys.stderr)
    if html is not None:
        print(made.save(html))
        return 0
    from oncology.view.server import PageServer, doorway, new_token

    with PageServer(made.page, new_token(), host, port) as server, doorway(server.address) as door:
        _announce(server, host)
        if browser and _screen():
            import webbrowser

            webbrowser.open(door.as_uri())
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            print("\noncology: the page is closed", file=sys.stderr)
    return 0


def _screen() -> bool:
    """Whether the user sits at this computer, before a screen."""
    shown = sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return shown and not os.environ.get("SSH_CONNECTION")


def _announce(server: PageServer, host: str) -> None:
    """Print the address and, where the user sits at another computer, how to get here."""
    print(server.address, flush=True)
    open_to_all = host not in ("127.0.0.1", "localhost", "::1")
    if os.environ.get("SSH_CONNECTION") and not open_to_all:
        port, name = server.server_port, socket.gethostname()
        print(f"On your own computer run:  ssh -N -L {port}:{server.host}:{port} {getuser()}@{name}", file=sys.stderr)
        print("and open the address above there.", file=sys.stderr)
    if open_to_all:
        print(
            "oncology: note: served to the network without encryption: who sees the address sees the patient",
            file=sys.stderr,
        )
    print("Ctrl-C ends it.", file=sys.stderr, flush=True)
