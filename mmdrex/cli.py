"""The command line: ``mmdrex backtest``, ``mmdrex fit``, ``mmdrex check``, and those that train.

Options are read and checked here; the work is done in the packages below, which are imported inside
the commands so that ``mmdrex --help`` stays fast. Bad input ends with one line on stderr and exit
code 2.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import warnings
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from mmdrex import cli_labels, cli_training
from mmdrex.errors import fail, one_line

if TYPE_CHECKING:
    import pandas as pd

    from baselines.agents.agent import Agent
    from baselines.agents.run import AgentRun
    from baselines.baseline import Baseline
    from mmdrex.catalog import Producer
    from mmdrex.data.costs import Costs
    from mmdrex.engines.backtest import Backtest
    from mmdrex.engines.trading import Settings

# Options that fit and backtest share
Set = Annotated[
    list[str] | None,
    Option("--set", help="A setting of the rule or baseline: horizon=5", show_default=False),
]
Model = Annotated[
    str | None,
    Option(
        help="Language model of finagent, finmem, llmoe: tiny (which knows nothing), openai:MODEL, "
        "hf:FOLDER, replay:FILE.",
        show_default=False,
    ),
]
CutOff = Annotated[
    str | None,
    Option(help="Last day the language model can know about, from its card.", show_default=False),
]
Calls = Annotated[
    int | None, Option(min=1, help="Most calls of the language model.", show_default=False)
]
CallsFile = Annotated[
    Path | None,
    Option(
        help="Record of all calls, which also answers repetitions; calls.sqlite beside --out "
        "unless given.",
        show_default=False,
    ),
]

app = typer.Typer(
    name="mmdrex",
    help="MM-DREX for backtrader and vectorbt: a vision-language router trades four experts.",
    add_completion=False,
    no_args_is_help=True,
)
app.add_typer(cli_training.train, name="train")
app.add_typer(cli_labels.label, name="label")


def _show_version(wanted: bool) -> None:
    if wanted:
        from mmdrex import __version__

        print(f"mmdrex {__version__}")
        raise typer.Exit


@app.callback()
def mmdrex(
    version: Annotated[
        bool, Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """MM-DREX for backtrader and vectorbt: a vision-language router trades four experts."""


@app.command()
def backtest(
    sources: Annotated[
        list[str],
        Argument(
            help="Prices: CSV or Parquet files, sp500, nasdaq, simulated:SEED, yahoo:TICKER. "
            "Several are sleeves of one portfolio.",
            show_default=False,
        ),
    ],
    engine: Annotated[
        str, Option(metavar="backtrader|vectorbt", help="The engine that trades.")
    ] = "backtrader",
    out: Annotated[
        Path | None, Option(help="Folder to write; runs/NAME unless given.", show_default=False)
    ] = None,
    start: Annotated[
        str | None, Option(help="First day traded; earlier bars are warm-up.", show_default=False)
    ] = None,
    end: Annotated[str | None, Option(help="Last day used.", show_default=False)] = None,
    router: Annotated[str, Option(help="tiny, a folder or a Hugging Face hub id.")] = "tiny",
    window: Annotated[int, Option(min=1, help="Bars between decisions (paper: 90).")] = 90,
    lookback: Annotated[int, Option(min=10, help="Bars the router sees (paper: 100).")] = 100,
    weights: Annotated[
        str | None,
        Option(
            help="Replaces the router's weights: uniform, random or best_expert.",
            show_default=False,
        ),
    ] = None,
    costs: Annotated[
        str | None,
        Option(help="Costs of a market; by the kind of prices unless given.", show_default=False),
    ] = None,
    fees: Annotated[
        float | None, Option(help="Fraction of the traded value.", show_default=False)
    ] = None,
    slippage: Annotated[
        float | None, Option(help="Fraction of the price.", show_default=False)
    ] = None,
    cash: Annotated[float, Option(help="Capital at the start.")] = 100_000.0,
    strategy: Annotated[
        str | None,
        Option(
            help="Trade this rule or baseline, the folder of a fitted one, or mine.py:my_targets, "
            "without a router.",
            show_default=False,
        ),
    ] = None,
    setting: Set = None,
    llm: Model = None,
    cutoff: CutOff = None,
    calls: Calls = None,
    ledger: CallsFile = None,
    ask_again: Annotated[
        bool, Option("--ask-again", help="Ask anew what once ended without a usable reply.")
    ] = False,
    anonymous: Annotated[
        bool,
        Option("--anonymous", help="Hide symbol, dates and price level from router or model."),
    ] = False,
    audit: Annotated[
        bool, Option("--audit", help="Also keep the prompt and series behind each decision.")
    ] = False,
    seed: Annotated[int, Option(help="Of random weights and of intervals.")] = 42,
) -> None:
    """Trade prices with MM-DREX: tearsheet, equity, orders, decisions, charts, table.

    [bold]mmdrex backtest sp500 --out runs/sp500[/bold] is the whole main job on the prices that are
    installed with the package.
    """
    from mmdrex.engines.ablations import check_weights
    from mmdrex.engines.backtest import long_enough
    from mmdrex.engines.job import main_job, run_folder
    from mmdrex.engines.trading import Settings, check_engine

    if not (math.isfinite(cash) and cash > 0.0):
        raise ValueError(f"--cash must be a positive amount, not {cash}")
    check_engine(engine)
    check_weights(weights)
    first, last = _day("--start", start), _day("--end", end)
    frames = _until(read_sources(sources), last)
    charged = _costs(costs, frames, fees, slippage)
    settings = Settings(
        engine=engine,
        window=window,
        lookback=lookback,
        start=first,
        weights=weights,
        fees=charged.fees,
        slippage=charged.slippage,
        cash=cash,
        anonymous=anonymous,
        seed=seed,
    )
    given = _settings(setting, llm, cutoff, calls, ledger)
    bars, skipped = long_enough(frames, settings)
    for reason in skipped.values():
        print(f"skipped: {reason}", file=sys.stderr)
    folder = out or Path("runs") / (next(iter(bars)) if len(bars) == 1 else "portfolio")
    trades, said = _strategy(strategy, given, settings, folder, ask_again)
    name = strategy or ("MM-DREX" if weights is None else f"MM-DREX, {weights} weights")
    try:
        with run_folder(folder) as aside:
            result = main_job(
                bars, aside, router, settings, trades, name, skipped, audit, progress=True
            )
            if said is not None:
                said.write(aside)
                print(said.spent())
    except KeyboardInterrupt:
        print(f"interrupted; what was finished is in {folder}.partial", file=sys.stderr)
        raise
    show(result, settings, folder)


def _strategy(
    source: str | None,
    given: dict[str, Any],
    settings: Settings,
    folder: Path,
    ask_again: bool = False,
) -> tuple[Producer | None, AgentRun | None]:
    """Return what trades in the router's place, and the run of an agent, which keeps a journal."""
    from mmdrex.catalog import baseline, producer

    if source is None:
        if given:
            raise ValueError(f"{', '.join(given)} is for a rule or baseline: name it by --strategy")
        return None, None
    agent = _recorded(_agent(baseline(source, **given)), folder)
    if agent is None:
        return producer(source, **given), None
    from baselines.agents.run import AgentRun

    if settings.anonymous and not agent.anonymous:
        agent = agent.changed(anonymous=True)
    if agent.learns:
        agent.require_fitted()
    if ask_again:
        agent.model.ledger.forget_failures()
    run = AgentRun(agent, settings.start, settings.lookback, progress=True)
    return producer(run), run


def _agent(found: Baseline | None) -> Agent | None:
    """Return a baseline that asks a language model, None for any other."""
    if found is None or "llm" not in found.settings:
        return None
    from baselines.agents.agent import Agent

    return found if isinstance(found, Agent) else None


def _recorded(agent: Agent | None, folder: Path) -> Agent | None:
    """Return an agent that keeps its calls beside the folder that is written, unless elsewhere."""
    if agent is None or agent.ledger is not None:
        return agent
    return agent.changed(ledger=str(folder.parent / "calls.sqlite"))


def show(result: Backtest, settings: Settings, folder: Path) -> None:
    """Print the table of a backtest, at zero costs and net of costs."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from mmdrex.engines.job import costs_label, stamp, title

    console = Console(highlight=False)
    days = f"{result.equity.index[0]:%Y-%m-%d} to {result.equity.index[-1]:%Y-%m-%d}"
    console.print(f"[bold]{title(result)}[/bold], {days}, split {stamp(result)}")
    for label, figures in (("zero costs", result.zero), (costs_label(settings), result.net)):
        table = Table(
            title=label,
            title_justify="left",
            title_style="",
            box=SIMPLE_HEAD,
            pad_edge=False,
            padding=(0, 1, 0, 0),
        )
        for heading in ("", "TR", "Sharpe", "95 %", "MDD", "turnover", "exposure"):
            table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
        for name, line in figures.iterrows():
            table.add_row(
                str(name),
                f"{line['TR']:.1%}",
                *_sharpe(line["Sharpe"], line["Sharpe low"], line["Sharpe high"]),
                f"{line['MDD']:.1%}",
                f"{line['turnover']:.1f}",
                f"{line['exposure']:.2f}",
            )
        console.print(table)
    console.print(
        f"Sharpe and turnover are per year; 95 % is the Sharpe's interval (stationary bootstrap, "
        f"seed {settings.seed}). {settings.engine} traded {result.name}; the largest relative gap "
        f"to the simulation behind the other rows is {result.gap:.0e}."
    )
    console.print(f"{folder}: {', '.join(sorted(file.name for file in folder.iterdir()))}")


def _sharpe(value: float, low: float, high: float) -> tuple[str, str]:
    """Return the cells of a Sharpe ratio; one that sits in cash has none."""
    return ("-", "-") if math.isnan(value) else (f"{value:.2f}", f"{low:.2f} .. {high:.2f}")


@app.command()
def fit(
    name: Annotated[str, Argument(help="The baseline: lgbm, lstm, ...", show_default=False)],
    sources: Annotated[
        list[str],
        Argument(
            help="Prices of one market, as for backtest, or one folder: what lies in a folder of "
            "its own in there is a market of its own and gets a baseline of its own.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None, Option(help="Folder to write; runs/NAME unless given.", show_default=False)
    ] = None,
    select: Annotated[
        str | None,
        Option(
            help="First day of the bars it is chosen on; earlier ones are fitted. The last year "
            "of the training split unless given.",
            show_default=False,
        ),
    ] = None,
    end: Annotated[str | None, Option(help="Last day used.", show_default=False)] = None,
    seeds: Annotated[
        int, Option(min=1, help="Fit it with so many seeds, each into a folder of its own.")
    ] = 1,
    setting: Set = None,
    llm: Model = None,
    cutoff: CutOff = None,
    calls: Calls = None,
    ledger: CallsFile = None,
    anonymous: Annotated[
        bool, Option("--anonymous", help="Hide symbol, dates and price level from the model.")
    ] = False,
) -> None:
    """Fit a baseline, choose its thresholds on later bars, and keep it in a folder."""
    from baselines import BASELINES
    from baselines.fitting import fit_baseline, folders, markets_below
    from strategies.rule import did_you_mean

    if name not in BASELINES:
        raise ValueError(f"no baseline {name!r}.{did_you_mean(name, BASELINES)}")
    given = _settings(setting, llm, cutoff, calls, ledger)
    given |= {"anonymous": True} if anonymous else {}
    try:
        made = BASELINES[name].with_settings(**given)
    except TypeError as error:
        raise ValueError(str(error)) from None
    out = out or Path("runs") / name
    made = _recorded(_agent(made), out) or made
    first = made.settings.get("seed", 0)
    if seeds > 1 and "seed" not in made.settings:
        raise ValueError(f"--seeds is for what is random; {name} is not")
    whole = len(sources) == 1 and Path(sources[0]).is_dir()
    markets = markets_below(sources[0]) if whole else {"": read_sources(sources)}
    last, chosen = _day("--end", end), _day("--select", select)
    for (market, seed), folder in folders(out, markets, range(first, first + seeds)).items():
        frames = _until(markets[market], last)
        one = made.changed(seed=seed) if seeds > 1 else made.changed()
        fit_baseline(one, frames, chosen).save(folder)
        dates = "" if one.trained is None else f", bars of {' to '.join(one.trained)}"
        figures = {k: v for k, v in one.learned().items() if isinstance(v, int | float)}
        learned = "".join(f"; {key} {value:g}" for key, value in figures.items())
        print(f"{name} on {_named(list(frames), market)}{dates}{learned}")
        print(f"{folder}: trade it with mmdrex backtest ... --strategy {folder}")


def _named(symbols: list[str], market: str) -> str:
    if len(symbols) <= 5:
        return ", ".join(symbols)
    return f"{len(symbols)} assets of {market}" if market else f"{len(symbols)} assets"


def _settings(
    setting: list[str] | None,
    llm: str | None = None,
    cutoff: str | None = None,
    calls: int | None = None,
    ledger: Path | None = None,
) -> dict[str, Any]:
    """Return the settings that options give to a rule or baseline."""
    named = {"llm": llm, "calls": calls, "ledger": None if ledger is None else str(ledger)}
    given: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    day = _day("--cutoff", cutoff)
    for text in [*(setting or []), *([] if day is None else [f"llm_settings.cutoff={day}"])]:
        path, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set wants name=value, such as horizon=5, not {text!r}")
        name, dot, key = path.partition(".")
        if dot:
            given[name] = {**given.get(name, {}), key: _value(value)}
        else:
            given[name] = _value(value)
    return given


def _value(text: str) -> object:
    try:
        return json.loads(text.lower() if text in ("True", "False") else text)
    except ValueError:
        return text


@app.command()
def check(
    source: Annotated[
        str,
        Argument(
            help="mine.py:MyTarget, a function of bars or a bt.Strategy; a rule, a baseline, or "
            "the folder of a fitted one.",
            show_default=False,
        ),
    ],
    sources: Annotated[
        list[str] | None,
        Argument(help="Prices to try it on; sp500 and simulated:1 unless given."),
    ] = None,
    bars: Annotated[
        int, Option(min=50, help="Bars tried of each price series, the last ones.")
    ] = 600,
    cuts: Annotated[int, Option(min=1, help="Prefixes tried for the prefix law.")] = 50,
) -> None:
    """Check that targets keep the contract: range, determinism, prefix law, both engines."""
    from mmdrex.catalog import from_file, producer
    from mmdrex.engines.contract import broken
    from mmdrex.engines.strategy_run import check_anything

    thing = from_file(source) if ".py:" in source else producer(source)
    failed = False
    for symbol, frame in read_sources(sources or ["sp500", "simulated:1"]).items():
        findings = check_anything(thing, frame.iloc[-bars:], cuts)
        failed |= broken(findings)
        print(f"{source} on {symbol}, {min(bars, len(frame))} bars")
        for finding in findings:
            print(f"  {finding.law:16} {finding.fault or 'holds'}")
    if failed:
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; bad input ends with one line on stderr and exit code 2."""
    # Quantstats asks for Arial, peft for an old name in transformers: nothing a user can act on.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    with one_line():
        try:
            sys.exit(app(standalone_mode=False))
        except typer.TyperException as error:
            fail(_asking(error.format_message()))
        except typer.Abort:
            sys.exit(130)


def _asking(message: str) -> str:
    """Return the parser's message with its suggestion worded like every other of ours."""
    said, found, options = message.partition(" (Possible options: ")
    if not found:
        return message
    from strategies.rule import did_you_mean

    return f"{said}.{did_you_mean(said.split()[-1], options.rstrip(')').split(', '))}"


def read_sources(sources: list[str]) -> dict[str, pd.DataFrame]:
    """Return the bars of every source by symbol.

    A source is a sample's name, ``yahoo:TICKER``, ``simulated:SEED`` or else a path.

    Raises
    ------
    ValueError
        For a source that can't be read, or two of one name.
    """
    frames: dict[str, pd.DataFrame] = {}
    origin: dict[str, str] = {}
    for source in sources:
        bars = _read(source)
        symbol = str(bars.attrs["symbol"])
        if symbol in frames:
            raise ValueError(f"{origin[symbol]} and {source} are both named {symbol}; rename one")
        frames[symbol], origin[symbol] = bars, source
    return frames


def _read(source: str) -> pd.DataFrame:
    from mmdrex.data.sample import SAMPLES
    from mmdrex.data.sources import SOURCES
    from strategies.rule import did_you_mean

    kind, colon, rest = source.partition(":")
    if source in SAMPLES:
        return SOURCES["sample"](source)
    if Path(source).exists():
        return SOURCES["csv"](source)
    if kind == "simulated" and not rest.isdecimal():
        raise ValueError(f"{source}: simulated needs a whole number as its seed: simulated:42")
    if colon and kind in SOURCES:
        return SOURCES[kind](rest)
    folder = Path(source).parent
    files = [str(folder / file.name) for file in folder.iterdir()] if folder.is_dir() else []
    known = [*SAMPLES, *(f"{name}:{rest}" for name in SOURCES), *files]
    raise ValueError(f"no file or sample {source!r}.{did_you_mean(source, known)}")


def _day(option: str, text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError(f"{option} must be a date such as 2017-01-31, not {text!r}") from None


def _until(frames: dict[str, pd.DataFrame], end: str | None) -> dict[str, pd.DataFrame]:
    if end is None:
        return frames
    cut = {symbol: bars.loc[:end] for symbol, bars in frames.items()}
    for symbol, bars in cut.items():
        bars.attrs["symbol"] = symbol
    return cut


def _costs(
    name: str | None, frames: dict[str, pd.DataFrame], fees: float | None, slippage: float | None
) -> Costs:
    """Return the costs of a market, or those given one by one."""
    import pandas as pd

    from mmdrex.data.bars import periods_per_year
    from mmdrex.data.costs import COSTS, Costs
    from mmdrex.data.sample import SAMPLES
    from strategies.rule import did_you_mean

    if name is None:
        every_day = all(
            periods_per_year(pd.DatetimeIndex(bars.index)) == 365 for bars in frames.values()
        )
        name = "crypto" if every_day else "indices" if set(frames) <= {*SAMPLES} else "us_stocks"
    if name not in COSTS:
        raise ValueError(
            f"no costs {name!r}; there are {', '.join(COSTS)}.{did_you_mean(name, COSTS)}"
        )
    preset = COSTS[name]
    chosen = Costs(
        preset.fees if fees is None else fees, preset.slippage if slippage is None else slippage
    )
    for option, value in zip(("--fees", "--slippage"), chosen, strict=True):
        if not 0.0 <= value < 1.0:
            raise ValueError(
                f"{option} is a fraction from 0 to below 1 (0.001 is 0.1 %), not {value}"
            )
    return chosen


if __name__ == "__main__":
    main()
