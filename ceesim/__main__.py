"""``python -m ceesim`` is ``ceesim``."""

from ceesim.cli import main

main()
