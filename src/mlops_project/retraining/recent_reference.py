"""What a retrained model is compared with: the newest labelled predictions, which judged it, in place of the table's rows.

A model that was retrained because the world changed lives in the new one. Beside the held-out rows of the table, which are of
the old world, its inputs would have drifted and its performance be lost from the first window on, for ever.
"""

import shutil

import msgspec

from mlops_project.bundle import PROFILE_FILE, REFERENCE_FILE, Bundle, publish, stage
from mlops_project.config import Config
from mlops_project.modeling.evaluation import decode_target
from mlops_project.modeling.held_out import HeldOut
from mlops_project.modeling.importance import compute_importance
from mlops_project.monitoring.coverage import SurenessCounter
from mlops_project.proof import note_proven
from mlops_project.reference.profile import MIN_REFERENCE_ROWS, profile_held_out
from mlops_project.runtime import Runtime
from mlops_project.signatures.signing import find_key
from mlops_project.uncertainty import Uncertainty


def renew_reference(bundle: Bundle, recent: HeldOut, runtime: Runtime, config: Config) -> Bundle:
    """Write a retrained bundle's profile, reference rows and share of doubtful rows anew, from predictions it did not learn.

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
        metadata = msgspec.structs.replace(bundle.metadata, uncertainty=_renew_doubt(bundle, recent))
        published = publish(folder, bundle.path, metadata, key=find_key(config.trust.signing_key, config.root))
    note_proven(published)  # the same model
    return published


def _renew_doubt(bundle: Bundle, recent: HeldOut) -> Uncertainty | None:
    """Return what is promised, with the share of rows that are marked, and the mean size, of the newest predictions."""
    promised = bundle.metadata.uncertainty
    if promised is None:
        return None
    counter = SurenessCounter(promised, bundle.contract)
    counter.add(recent.columns, recent.predictions)
    abstained, size = (found.value for found in counter.judge(0.0))
    checked = msgspec.structs.replace(promised.checked, abstained=abstained, size=size)
    return msgspec.structs.replace(promised, checked=checked)
