"""A backbone server: `python -m pipeline.backbone_server`, started by `server_processes.start_servers`.

It reads what it is to serve from standard input as JSON, loads the networks, listens, and says so on a pipe.
It ends with its parent.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from cache.settings import parse_settings
from pipeline.backbone_server.sent_errors import error_fields
from pipeline.backbone_server.wire import listen
from pipeline.config import ExtractConfig
from pipeline.process_bond import end_with_parent


def main() -> None:
    """Serve until the parent ends or stops this process."""
    plan = json.load(sys.stdin)
    address = Path(plan["address"])
    # Ctrl-C goes to all processes of the terminal: the parent decides what comes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(plan["parent"], partial(_leave_no_socket, address))
    ready = open(plan["ready"], "w", encoding="utf-8")  # noqa: SIM115  # a descriptor, closed below
    try:
        # Late: who starts a server and dies at once leaves none that imports torch.
        import torch

        from pipeline.backbone_server.service import Service
        from pipeline.models import load_models

        config = parse_settings(ExtractConfig, plan["config"], where="backbone server")
        models = load_models(config, plan["device"])
        # After an error of the GPU itself (not for want of memory), nothing on it works in this process.
        service = Service(models, config.batch_size, (torch.AcceleratorError,))
        listener = listen(address)
    except Exception as error:
        with ready:
            print(json.dumps(error_fields(error)), file=ready)
        sys.exit(1)
    accept = partial(_end_on_error, plan["device"], partial(service.accept, listener))
    threading.Thread(target=accept, name="accept", daemon=True).start()
    with ready:
        print("{}", file=ready)
    _end_on_error(plan["device"], service.run)


def _end_on_error(device: str, work: Callable[[], None]) -> None:
    """Do what a server is none without: an error ends the process, so that no client waits in vain."""
    try:
        work()
    except Exception as error:
        message = " ".join(str(error).split())
        print(f"backbone server on {device}: {type(error).__name__}: {message}", file=sys.stderr, flush=True)
        os._exit(1)


def _leave_no_socket(address: Path) -> None:
    """Remove what the parent would have removed."""
    with suppress(OSError):
        address.unlink()
    with suppress(OSError):
        address.parent.rmdir()  # the last server of the run leaves it empty


if __name__ == "__main__":
    main()
