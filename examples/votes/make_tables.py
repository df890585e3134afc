"""Write votes.csv, the survey to learn from, and new.csv, people who are asked later and whose votes are not known yet."""

import statsmodels.api as sm

survey = sm.datasets.anes96.load_pandas().data.drop(columns="logpopul").astype(int)  # the logarithm of another column
survey = survey.sample(frac=1, random_state=1)
survey.iloc[:-200].to_csv("votes.csv", index=False)
survey.iloc[-200:].drop(columns="vote").to_csv("new.csv", index=False)
