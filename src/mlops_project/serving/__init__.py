"""The model server: one data plane, three protocols, no MLflow, pandas, scikit-learn or pickle."""
