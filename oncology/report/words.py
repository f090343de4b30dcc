"""Tables of parameters, and sentences on what the data determine and what they do not.

Every sentence follows from `estimate.json`: which parameters are identified, how wide the intervals of the combinations
are, and how many sessions there were.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup, escape

from oncology.inverse.estimate import NORMAL_95
from oncology.report.priors import Source, Update, physical, sources, updates
from oncology.results.schema import PACE, Combination, Estimate, Parameter, log_interval
from oncology.results.verdict import verdict_of
from oncology.text import number, span, symbols

__all__ = [
    "Row",
    "cannot_tell",
    "combination_rows",
    "direction",
    "formula",
    "headline",
    "interval_sentences",
    "parameter_rows",
    "seed_count",
    "seed_words",
    "verdict",
]

NAMES = {
    "diffusion_white": ("diffusion in white matter", "D_w"),
    "diffusion_grey": ("diffusion in grey matter", "D_g"),
    "proliferation": ("rate of proliferation", "ρ"),
    "seed": ("site of onset (R, A, S)", "x₀"),
    "seed_radius": ("radius of the seed", "R"),
    "onset": ("day of onset", "t₀"),
    "threshold_whole": ("density at the boundary of the whole tumour", "τ₁"),
    "threshold_core": ("density at the boundary of the core", "τ₂"),
}
WIDEST = math.log(8.0)  # of the little interval bars, to each side


@dataclass(frozen=True)
class Row:
    """One line of the table of findings.

    Attributes:
        name: in words.
        symbol: as in the equations.
        value: estimate, without unit.
        interval: 95 % interval, without unit.
        unit: for both.
        determined: whether the data determine it.
        bar: left and right end of the interval on a logarithmic scale from 1/8 to 8 times the estimate (of the time
            since onset, for the day of onset), 0..100; None for what has no logarithm.
        prior: the same of the prior; None where it is not known.
        source: where the value comes from: "scans", "prior", or "little" where the scans add little.
    """

    name: str
    symbol: str
    value: str
    interval: str
    unit: str
    determined: bool
    bar: tuple[float, float] | None
    prior: tuple[float, float] | None = None
    source: Source = "scans"


def formula(text: str) -> Markup:
    """Write a formula for the page: D_w becomes a D with an index."""
    return Markup(re.sub(r"\bD_(\w)", r"D<sub>\1</sub>", str(escape(text))))


def direction(text: str) -> str:
    """Write a direction of the unknowns with words instead of names: "+0.7 ln_proliferation" loses its underscore."""
    return text.replace("_", " ").replace("-", "−")


def parameter_rows(estimate: Estimate) -> dict[str, Row]:
    """Return a row for each parameter by its name, in the order of `estimate.json`; further foci as seed2 and so on."""
    changes, known_from = updates(estimate), sources(estimate)
    rows = {}
    for name, parameter in estimate.parameters.items():
        source = "scans" if parameter.identified else known_from[name]
        rows[name] = _parameter_row(name, parameter, estimate, changes.get(name), source)
        for place, entry in enumerate(estimate.foci[1:] if name == "seed" else (), 2):
            row = _parameter_row(name, entry, estimate, None, "scans" if entry.identified else known_from[name])
            rows[f"seed{place}"] = replace(row, name=f"{row.name}, focus {place}")
    return rows


def _parameter_row(name: str, parameter: Parameter, estimate: Estimate, change: Update | None, source: Source) -> Row:
    words, symbol = NAMES.get(name, (name.replace("_", " "), ""))
    bar = prior = None
    if isinstance(parameter.value, tuple):
        value = ", ".join(number(x) for x in parameter.value)
        spread = parameter.sd if isinstance(parameter.sd, tuple) else ()
        interval = "± " + ", ".join(number(NORMAL_95 * sd, 2) for sd in spread) if spread else "–"
    else:
        value = number(parameter.value)
        ends = estimate.interval(name)
        interval = "–" if ends is None else span(*ends)
        if ends is not None and parameter.sd_log is not None:
            bar = _bar(parameter.value, ends)
    if change is not None:
        prior, bar = map(_placed, change.ends)
    return Row(words, symbol, value, interval, symbols(parameter.unit), parameter.identified, bar, prior, source)


def _bar(value: float, ends: tuple[float, float]) -> tuple[float, float] | None:
    if value <= 0 or ends[0] <= 0:
        return None
    return _placed((math.log(ends[0] / value), math.log(ends[1] / value)))


def _placed(ends: tuple[float, float]) -> tuple[float, float]:
    """Ends of a logarithm as places on a bar, 0..100."""
    low, high = (min(max(50.0 * (1.0 + end / WIDEST), 0.0), 100.0) for end in ends)
    return low, high


def combination_rows(estimate: Estimate) -> list[Row]:
    """Return a row for each combination of parameters."""
    rows, changes = [], updates(estimate)
    for combination in estimate.combinations:
        ends = log_interval(combination.value, combination.sd_log)
        words, formula = _split_formula(combination.name)
        change = changes.get(words)
        rows.append(
            Row(
                words,
                symbols(formula),
                number(combination.value),
                span(*ends),
                symbols(combination.unit),
                combination.identified,
                _bar(combination.value, ends),
                None if change is None else _placed(change.ends[0]),
                "scans" if combination.identified else "little",
            )
        )
    return rows


def _split_formula(name: str) -> tuple[str, str]:
    """Take "front speed 2 sqrt(D rho)" apart into words and formula."""
    words = name.split(" ")
    first = next(
        (k for k, word in enumerate(words) if k and (word[0].isdigit() or word.startswith(("sqrt", "rho", "D")))),
        len(words),
    )
    return " ".join(words[:first]), " ".join(words[first:])


def headline(estimate: Estimate) -> list[str]:
    """Say the outcome in two sentences."""
    found = verdict_of(estimate)
    if found.voids:
        return [f"{found.words[0].upper()}{found.words[1:]}: the numbers below do not describe this tumour."]
    sentences = []
    onset, speed = estimate.parameters.get("onset"), estimate.derived.get("front_speed")
    if onset is not None and isinstance(onset.value, float) and speed is not None:
        path = (
            f"began about day {onset.value:.0f} and its boundary advances {number(speed.value)} {symbols(speed.unit)}"
        )
        open_ended = any(name in estimate.parameters and not estimate.parameters[name].identified for name in PACE)
        start = (
            "Tumours that grow at different speeds match the scans; the one shown here"
            if open_ended
            else "The modelled tumour"
        )
        sentences.append(f"{start} {path} in white matter.".replace("-", "−"))
    unknown = _unknown(estimate)
    if unknown:
        sentences.append(f"Not determined by the scans: {_listed(unknown)} (section 3).")
    else:
        sentences.append(f"The scans determine {_determined(estimate)} (section 3).")
    return sentences


def _not_identified(estimate: Estimate) -> list[str]:
    """Keys of the parameters that the data do not determine; the seed's radius has a sentence of its own."""
    known = {name: entry.identified for name, entry in estimate.parameters.items() if name != "seed_radius"}
    if "seed" in known:
        known["seed"] = all(entry.identified for entry in (estimate.parameters["seed"], *estimate.foci))
    return [name for name, identified in known.items() if not identified]


def _determined(estimate: Estimate) -> str:
    """What the data determine where nothing but the seed's radius may be left open."""
    radius = estimate.parameters.get("seed_radius")
    return "every parameter" if radius is None or radius.identified else "every parameter but the radius of the seed"


def _unknown(estimate: Estimate) -> list[str]:
    """Names, in words, of the parameters that the data do not determine."""
    return [_in_words(name) for name in _not_identified(estimate)]


def _in_words(name: str) -> str:
    """A parameter's name in words, without remarks in brackets."""
    return NAMES.get(name, (name.replace("_", " "), ""))[0].partition(" (")[0]


def seed_words(estimate: Estimate) -> str:
    """Say what the seed is, and where its radius comes from; nothing where the file does not tell."""
    radius = estimate.parameters.get("seed_radius")
    if radius is None:
        return ""
    ends, value = estimate.seed_radius.interval, estimate.seed_radius.value
    amplitude = estimate.posterior.get("seed", {}).get("amplitude")
    count = len(estimate.foci)
    middle, edge = ("their centres", "their edges") if count else ("its centre", "its edge")
    centre = "" if amplitude is None else f" of {number(float(amplitude))} of the carrying capacity at {middle}"
    if ends[0] == ends[1]:
        source = "This radius was given, not estimated."
    elif radius.identified:
        source = f"The scans determine this radius (95 % interval {span(*ends)} mm)."
    else:
        source = (
            f"The scans do not determine this radius: it rests on the prior assumption (95 % interval {span(*ends)} "
            "mm), and the intervals of the other parameters include what that leaves open."
        )
    ball = (
        f"{count} balls of {number(value)} mm radius, the seeds, one in each focus,"
        if count
        else f"a ball of {number(value)} mm radius, the seed,"
    )
    return (
        f"On the day of onset the modelled tumour is {ball} with a cell density{centre} that falls to zero at "
        f"{edge}. {source}"
    )


def seed_count(estimate: Estimate, single: str = "a single seed") -> str:
    """Say from how many seeds the modelled tumour grew."""
    return f"{len(estimate.foci)} seeds" if estimate.foci else single


def verdict(estimate: Estimate) -> str:
    """Say in one line whether the fit can be trusted: verdict, convergence, overlap, what is not determined."""
    found = verdict_of(estimate)
    overlaps = [regions["whole"] for regions in estimate.dice.values() if regions.get("whole") is not None]
    dice = f", Dice of the whole tumour {', '.join(number(value, 2) for value in overlaps)}" if overlaps else ""
    if found.voids:
        told = "no value counts as determined"
    else:
        unknown = _unknown(estimate)
        determined = f"the scans determine {_determined(estimate)}"
        told = f"not determined by the scans: {_listed(unknown)}" if unknown else determined
    return f"Verdict: {found.level.replace('_', ' ')}, {estimate.status}{dice}; {told}"


def cannot_tell(estimate: Estimate, sessions: int) -> list[str]:
    """Say in sentences what the data determine and what they do not.

    Args:
        estimate: contents of `estimate.json`.
        sessions: number of fitted scans.
    """
    found = verdict_of(estimate)
    if found.voids:
        return [
            f"{found.words[0].upper()}{found.words[1:]}, so that no value counts as determined, however narrow its "
            f"interval: {'; '.join(found.reasons)}."
        ]
    unknown = _not_identified(estimate)
    if not unknown:
        return [f"The scans determine {_determined(estimate)} by themselves; the prior assumptions add little."]
    sentences = [*_from_prior(estimate, unknown), *_little(estimate, unknown)]
    sentences += _why(unknown, sessions)
    known = [c for c in estimate.combinations if c.identified]
    if known:
        sentences.append(f"What the scans do determine: {_listed([_known(c) for c in known])}.")
    vague = [_split_formula(c.name)[0] for c in estimate.combinations if not c.identified]
    if vague:
        sentences.append(f"Not determined either: {_listed(vague)}.")
    return sentences


def _from_prior(estimate: Estimate, unknown: Sequence[str]) -> list[str]:
    """What the scans leave where the prior has it."""
    known_from = sources(estimate)
    names = [_in_words(name) for name in unknown if known_from[name] == "prior"]
    if not names:
        return []
    rests = "The value given for it comes" if len(names) == 1 else "The values given for them come"
    return [
        f"The scans do not determine {_listed(names, 'or')}. {rests} from the prior assumption, and any other inside "
        "the 95 % interval explains the scans about as well."
    ]


def _little(estimate: Estimate, unknown: Sequence[str]) -> list[str]:
    """What the scans move away from the prior, without narrowing it down."""
    changes, known_from = updates(estimate), sources(estimate)
    sentences = []
    for name in unknown:
        value, ends = estimate.parameters[name].value, estimate.interval(name)
        if known_from[name] != "little" or ends is None or isinstance(value, tuple):
            continue
        before = number(physical(estimate, name, changes[name].prior[0]))
        sentences.append(
            f"The scans add little about {_in_words(name)}: they move it from {before}, the prior assumption, to "
            f"{number(value)}, and leave {span(*ends)} {symbols(estimate.parameters[name].unit)} open."
        )
    return sentences


def interval_sentences(estimate: Estimate) -> list[str]:
    """Say which errors the intervals count, as far as the file tells."""
    found, declared = estimate.boundary_errors, estimate.declared_errors
    sentences = []
    if found:
        estimated = found["interval"] == "estimated"
        source = "as the residuals show" if estimated else "an assumption: the residuals are too few"
        sentences.append(
            f"The intervals count boundaries of the segmentations that lie off by {number(found['outward_mm'])} mm, "
            f"and tissue that lies off by {number(found['tissue_mm'])} mm along each axis, correlated over "
            f"{number(found['length_mm'], 2)} mm ({source})."
        )
    if declared:
        sd, bias = declared["threshold_sd"], declared["bias_mm"]
        if any(name.startswith("threshold_") for name in estimate.posterior.get("names", ())):
            sentences.append("The thresholds are among the unknowns.")
        elif sd:
            sentences.append(
                f"The thresholds are uncertain by {number(sd)} (standard deviation), alike in all sessions."
            )
        else:
            sentences.append("All values are given the thresholds: their own uncertainty is not included.")
        if bias:
            sentences.append(
                f"Raters draw a boundary outwards or inwards by {number(bias)} mm as a whole, nearly alike."
            )
        if white := declared.get("white_mm"):
            sentences.append(
                f"The maps' boundary between white and grey matter may lie off by {number(white)} mm as a whole."
            )
    return sentences


def _why(unknown: Sequence[str], sessions: int) -> list[str]:
    """The reasons that hold for every tumour of this model: fronts move at 2 sqrt(D rho) and are sqrt(D/rho) wide."""
    sentences = []
    if sessions == 1 and ("diffusion_white" in unknown or "proliferation" in unknown):
        sentences.append(
            "One scan shows how far the tumour has come and how steep its boundary is, but not how fast it moves: a "
            "slow tumour that began early and a fast one that began late look the same. A second scan some weeks apart "
            "would tell them apart."
        )
    elif "diffusion_white" in unknown or "proliferation" in unknown:
        sentences.append(
            "The speed of the front depends on the product D ρ and the steepness of the boundary on the ratio D/ρ: the "
            "regions segmented here fix them too loosely to give D and ρ separately."
        )
    if "diffusion_grey" in unknown and "diffusion_white" not in unknown:
        sentences.append(
            "Diffusion in grey matter shows only where the boundary of the tumour crosses grey matter, and there the "
            "segmentations of this case leave it open."
        )
    return sentences


def _known(combination: Combination) -> str:
    words, formula = _split_formula(combination.name)
    unit = symbols(combination.unit)
    ends = span(*log_interval(combination.value, combination.sd_log))
    return (
        f"the {words} {symbols(formula)} = {number(combination.value)}{' ' + unit if unit else ''} "
        f"(95 % interval {ends})"
    )


def _listed(items: Sequence[str], last: str = "and") -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {last} {items[-1]}"
