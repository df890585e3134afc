"""What a retrained model is compared with: the newest labelled predictions, which judged it, in place of the table's rows.

A model that was retrained because the world changed lives in the new one. Beside the held-out rows of the table, which are of
the old world, its inputs would have drifted and its performance be lost from the first window on, for ever.
"""

import shutil

from mlops_project.bundle import PROFILE_FILE, REFERENCE_FILE, Bundle, publish, stage
from mlops_project.config import Config
from mlops_project.modeling.evaluation import decode_target
from mlops_project.modeling.held_out import HeldOut
from mlops_project.modeling.importance import compute_importance
from mlops_project.proof import note_proven
from mlops_project.reference.profile import MIN_REFERENCE_ROWS, profile_held_out
from mlops_project.runtime import Runtime
from mlops_project.signatures.signing import find_key


def renew_reference(bundle: Bundle, recent: HeldOut, runtime: Runtime, config: Config) -> Bundle:
    """Write a retrained bundle's profile and reference rows anew, from labelled predictions that it did not learn from.

    With fewer than ``monitoring.min_labels`` of them, or than a profile needs, the table's held-out rows say more.

    Parameters
    ----------
    bundle
        As training wrote it; its directory is replaced in one swap, as training does.
    recent
        The newest labelled predictions, with the bundle's own answers.
    runtime
        With the bundle's model.

    Raises
    ------
    BundleError
        If the directory cannot be written.
    """
    if PROFILE_FILE not in bundle.metadata.files or len(recent.truth) < max(MIN_REFERENCE_ROWS, config.monitoring.min_labels):
        return bundle
    with stage(bundle.path) as folder:
        for name in bundle.metadata.files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.path / name, folder / name)
        importance = compute_importance(runtime, recent, bundle.contract, config)
        profile = profile_held_out(recent, importance, bundle.contract, config)
        (folder / PROFILE_FILE).write_bytes(profile.encode())
        if REFERENCE_FILE in bundle.metadata.files:
            target = decode_target(recent.truth, bundle.contract)
            rows = recent.features.assign(**{bundle.contract.target: target})
            rows = rows.sample(min(config.export.reference_rows, len(rows)), random_state=config.random_state)
            rows.to_parquet(folder / REFERENCE_FILE, index=False)
        published = publish(folder, bundle.path, bundle.metadata, key=find_key(config.trust.signing_key, config.root))
    note_proven(published)  # the same model
    return published
