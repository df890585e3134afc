"""Write cars.csv, cars to learn from, and new.csv, cars whose consumption is to be told."""

import pandas as pd
import vega_datasets

cars = pd.read_json(vega_datasets.local_data.cars.filepath).dropna(subset="Miles_per_Gallon").sample(frac=1, random_state=1)
cars.iloc[:-60].to_csv("cars.csv", index=False)
cars.iloc[-60:].drop(columns="Miles_per_Gallon").to_csv("new.csv", index=False)
