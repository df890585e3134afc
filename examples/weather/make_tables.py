"""Write weather.csv, Seattle's days of 2012 to 2014, new.csv, the days of 2015, and later.csv, what their weather was."""

import pandas as pd
import vega_datasets

days = pd.read_csv(vega_datasets.local_data.seattle_weather.filepath)
old = days["date"] < "2015"
days[old].to_csv("weather.csv", index=False)
days[~old].drop(columns="weather").to_csv("new.csv", index=False)
days.loc[~old, ["date", "weather"]].to_csv("later.csv", index=False)
