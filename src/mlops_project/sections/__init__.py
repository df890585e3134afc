"""The sections of a configuration file: every setting with its type, bounds and description.

``docs/configuration.md`` is generated from the descriptions here.
"""

from mlops_project.sections.card import CardConfig
from mlops_project.sections.decision import DecisionConfig, ThresholdRule
from mlops_project.sections.model import Estimator, ModelConfig, PreparationConfig, PreprocessingConfig
from mlops_project.sections.notifications import NotificationsConfig
from mlops_project.sections.rollout import RolloutConfig
from mlops_project.sections.running import (
    ModelLimits,
    ModelsConfig,
    MonitoringConfig,
    PredictionLogConfig,
    ProofConfig,
    RetrainingConfig,
    ServingConfig,
    StackConfig,
    TlsConfig,
)
from mlops_project.sections.section import Section
from mlops_project.sections.training import (
    ChecksConfig,
    DataConfig,
    EvaluationConfig,
    ExportConfig,
    GatesConfig,
    PathsConfig,
    SearchConfig,
    TrackingConfig,
    UncertaintyConfig,
)
from mlops_project.sections.trust import TrustConfig

__all__ = [
    "CardConfig",
    "ChecksConfig",
    "DataConfig",
    "DecisionConfig",
    "Estimator",
    "EvaluationConfig",
    "ExportConfig",
    "GatesConfig",
    "ModelConfig",
    "ModelLimits",
    "ModelsConfig",
    "MonitoringConfig",
    "NotificationsConfig",
    "PathsConfig",
    "PredictionLogConfig",
    "PreparationConfig",
    "PreprocessingConfig",
    "ProofConfig",
    "RetrainingConfig",
    "RolloutConfig",
    "SearchConfig",
    "Section",
    "ServingConfig",
    "StackConfig",
    "ThresholdRule",
    "TlsConfig",
    "TrackingConfig",
    "TrustConfig",
    "UncertaintyConfig",
]
