"""``python -m ui``: serve the pages until told to stop. The gateway may come later; until then the pages say that it is away."""

import sys

from tandem.errors import SettingsInvalid
from tandem.settings import Settings
from tandem.telemetry.logging import configure_logging, get_logger
from ui.app import create_app, is_local, streamlit_options


def main() -> int:
    """Read the settings, then serve; the exit status is 2 when a setting is wrong."""
    try:
        settings = Settings.load()
    except SettingsInvalid as error:
        sys.stderr.write(f"{error}\n")
        return 2
    configure_logging(settings.log, process="ui")
    log = get_logger(__name__)
    if not is_local(settings):
        log.warning("ui.open_to_network", host=settings.ui.host, remedy="the pages have no sign-in: put a proxy with one in front")
    log.info("ui.starting", host=settings.ui.host, port=settings.ui.port, gateway=settings.gateway_url)
    create_app(settings).run(config=streamlit_options(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
