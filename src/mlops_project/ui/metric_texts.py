"""The metrics' names in English and Brazilian Portuguese, as the pages write them."""

METRIC_TEXTS: dict[str, tuple[str, str]] = {
    "metric.accuracy": ("accuracy", "acurácia"),
    "metric.precision": ("precision", "precisão"),
    "metric.recall": ("recall", "revocação"),
    "metric.f1": ("F1", "F1"),
    "metric.roc_auc": ("ROC AUC", "AUC ROC"),
    "metric.pr_auc": ("PR AUC", "AUC PR"),
    "metric.log_loss": ("log loss", "perda logarítmica"),
    "metric.brier": ("Brier score", "escore de Brier"),
    "metric.calibration_error": ("calibration error", "erro de calibração"),
    "metric.mae": ("MAE", "MAE"),
    "metric.rmse": ("RMSE", "RMSE"),
    "metric.r2": ("R²", "R²"),
}
