"""What a retrained model is compared with: the newest labelled predictions, which judged it, in place of the table's rows.

A model that was retrained because the world changed lives in the new one. Beside the held-out rows of the table, which are of
the old world, its inputs would have drifted and its performance be lost from the first window on, for ever.
"""

import shutil

from mlops_project.bundle import PROFILE_FILE, REFERENCE_FILE, Bundle, publish, stage
from mlops_project.config import Config
from mlops_project.data_prep import ProductionRows
from mlops_project.modeling.evaluation import encode_target
from mlops_project.modeling.importance import compute_importance
from mlops_project.proof import load_runtime, note_proven
from mlops_project.reference.performance import build_reference_performance
from mlops_project.reference.profile import MIN_REFERENCE_ROWS, build_reference


def renew_reference(bundle: Bundle, recent: ProductionRows, config: Config) -> Bundle:
    """Write a retrained bundle's profile and reference rows anew, from labelled predictions that it did not learn from.

    With fewer than ``monitoring.min_labels`` of them, or than a profile needs, the table's held-out rows say more.

    Parameters
    ----------
    bundle
        As training wrote it; its directory is replaced in one swap, as training does.
    recent
        The newest labelled predictions.

    Raises
    ------
    BundleError
        If the directory cannot be written.
    """
    if PROFILE_FILE not in bundle.metadata.files or len(recent) < max(MIN_REFERENCE_ROWS, config.monitoring.min_labels):
        return bundle
    with stage(bundle.path) as folder:
        for name in bundle.metadata.files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.path / name, folder / name)
        (folder / PROFILE_FILE).write_bytes(_build_profile(bundle, recent, config))
        if REFERENCE_FILE in bundle.metadata.files:
            rows = recent.features.assign(**{bundle.contract.target: recent.target})
            rows = rows.sample(min(config.export.reference_rows, len(rows)), random_state=config.random_state)
            rows.to_parquet(folder / REFERENCE_FILE, index=False)
        published = publish(folder, bundle.path, bundle.metadata)
    note_proven(published)  # the same model
    return published


def _build_profile(bundle: Bundle, recent: ProductionRows, config: Config) -> bytes:
    contract, runtime, seed = bundle.contract, load_runtime(bundle, config.proof), config.random_state
    columns = {name: recent.features[name].to_numpy() for name in contract.names}
    truth, predictions = encode_target(recent.target, contract), runtime.predict(columns)
    importance = compute_importance(runtime, recent.features, truth, contract, config)
    weights = dict(zip(importance.names, importance.means.tolist(), strict=True)) if importance else None
    performance = build_reference_performance(columns, predictions, truth, contract, config, seed=seed)
    profile = build_reference(columns, predictions, contract, weights=weights, performance=performance, seed=seed)
    return profile.encode()
