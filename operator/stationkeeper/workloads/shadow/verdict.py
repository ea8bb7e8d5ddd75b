"""What a comparison amounts to: passed, given up, or not enough to say. Pure."""

from dataclasses import dataclass

from stationkeeper.api.base import parse_duration
from stationkeeper.api.jobs import ShadowConfig
from stationkeeper.api.verdicts import Verdict
from stationkeeper.workloads.shadow.compare import Compared


@dataclass(frozen=True)
class Sent:
    """What became of the requests."""

    requests: int
    errors: int  # refused, failed, or answered with something else
    latency: float | None  # seconds, the 95th percentile of those that were answered


def judge(config: ShadowConfig, sent: Sent, compared: Compared | None, trouble: str | None = None) -> tuple[Verdict, str]:
    """The verdict, and why in one sentence. `trouble`: why the answers cannot be compared at all."""
    rows = compared.rows if compared else 0
    fault = trouble or _errors(config, sent)
    if fault:
        return Verdict.BREACHED, fault
    seen = f"{rows} rows in {sent.requests} requests, {sent.errors} errors"
    if compared is None or rows < config.shadow.min_rows:
        return Verdict.INSUFFICIENT_DATA, f"{seen}; {config.shadow.min_rows} rows are needed"
    fault = _disagreement(config, compared) or _difference(config, compared) or _moved(config, compared) or _latency(config, sent)
    return (Verdict.BREACHED, fault) if fault else (Verdict.PASSED, f"{seen}; {_agreement(compared)}")


def _errors(config: ShadowConfig, sent: Sent) -> str | None:
    limits = config.analysis
    if sent.errors <= limits.max_error_rate * max(sent.requests, limits.min_requests):
        return None
    return f"{sent.errors} of {sent.requests} requests were refused or failed; at most {limits.max_error_rate:.1%} may be"


def _disagreement(config: ShadowConfig, compared: Compared) -> str | None:
    limit, found = config.shadow.max_disagreement, compared.disagreement
    if limit is None or found is None or found <= limit:
        return None
    return f"{found:.1%} of {compared.rows} rows got another class than from the stable revision; at most {limit:.1%} may"


def _difference(config: ShadowConfig, compared: Compared) -> str | None:
    limit, found = config.shadow.max_mean_difference, compared.mean_difference
    if limit is None or found is None or found <= limit:
        return None
    unit = "" if compared.disagreement is not None else " standard deviations"
    return f"its answers differ from the stable revision's by {found:.3g}{unit} on average; at most {limit:g} is allowed"


def deviation(config: ShadowConfig, compared: Compared) -> float | None:
    """How far what the answers differ by lies from what the gates saw (total variation distance); None where they saw nothing."""
    seen, found = config.expected_shift, compared.shift
    if not seen or compared.disagreement is None:
        return None
    return sum(abs(found.get(name, 0.0) - seen.get(name, 0.0)) for name in found.keys() | seen.keys()) / 2


def _moved(config: ShadowConfig, compared: Compared) -> str | None:
    limit, found = config.analysis.max_prediction_shift, deviation(config, compared)
    if limit is None or found is None or found <= limit:
        return None
    return f"the shares of its classes lie {found:.2f} from what the gates saw them differ by; at most {limit:g} is allowed"


def _latency(config: ShadowConfig, sent: Sent) -> str | None:
    limit = config.shadow.max_latency
    if limit is None or sent.latency is None or sent.latency <= parse_duration(limit).total_seconds():
        return None
    return f"95 % of its answers took up to {1000 * sent.latency:.0f} ms; at most {limit} is allowed"


def _agreement(compared: Compared) -> str:
    told = []
    if compared.disagreement is not None:
        told.append(f"{compared.disagreement:.1%} got another class")
    if compared.mean_difference is not None:
        told.append(f"mean difference {compared.mean_difference:.3g}")
    return ", ".join(told)
