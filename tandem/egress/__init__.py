"""The guarded way out: every address that a caller, a model or a stranger's page chose is reached through here.

``check_target`` judges a URL; ``GuardedClient`` judges it again at each request, and each redirect, and dials only the literal addresses it has just
judged, on a fresh connection, so neither a rebinding name nor a pooled connection escapes the judgment.

Covered: private, loopback, link-local, shared, reserved, multicast and translated addresses, by literal, by name and by numeric spelling; names
with one bad answer among good ones; redirects (judged like the first address, or never followed); credentials in URLs; unix sockets; proxies from the
environment (never used); slow, endless, compressed and huge answers. Not covered: what a public host does with the request. The message of a refusal
never tells what a name resolved to; the log and ``watched`` do.
"""

from tandem.egress.addresses import AllowList, is_public
from tandem.egress.client import FETCH_LIMITS, FetchLimits, GuardedClient, HttpClient, Response
from tandem.egress.dialling import PinnedBackend
from tandem.egress.gate import Gate
from tandem.egress.judgement import PUBLIC_WEB, WEBHOOKS, EgressRules, Resolver, Target, check_target, operated, resolve
from tandem.egress.secrets import Secret, SecretBook
from tandem.egress.transport import GuardedTransport
from tandem.egress.watch import Reached, Watch, watched

__all__ = [
    "FETCH_LIMITS",
    "PUBLIC_WEB",
    "WEBHOOKS",
    "AllowList",
    "EgressRules",
    "FetchLimits",
    "Gate",
    "GuardedClient",
    "GuardedTransport",
    "HttpClient",
    "PinnedBackend",
    "Reached",
    "Resolver",
    "Response",
    "Secret",
    "SecretBook",
    "Target",
    "Watch",
    "check_target",
    "is_public",
    "operated",
    "resolve",
    "watched",
]
