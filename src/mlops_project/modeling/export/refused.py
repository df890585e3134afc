"""Known steps without an exact export: why, and what to use instead."""

REFUSED: dict[str, str] = {
    "sklearn.BayesianGaussianMixture": "it finds groups and predicts no target; use a classifier",
    "sklearn.ClassifierChain": "several targets cannot be served by one model; fit one model for each",
    "sklearn.EllipticEnvelope": "its distances have no score between 0 and 1; use IsolationForest",
    "sklearn.FeatureHasher": "its hashes have no exact operator; use OneHotEncoder",
    "sklearn.GaussianMixture": "it finds groups and predicts no target; use a classifier",
    "sklearn.GaussianProcessClassifier": "its integrals have no exact operator; use SVC in CalibratedClassifierCV",
    "sklearn.GaussianProcessRegressor": "its kernels are combined freely; use SVR",
    "sklearn.LabelBinarizer": "it is for targets; use OneHotEncoder for columns",
    "sklearn.LabelEncoder": "it is for targets; use OrdinalEncoder for columns",
    "sklearn.LocalOutlierFactor": "its densities have no exact operator; use IsolationForest",
    "sklearn.MultiOutputClassifier": "several targets cannot be served by one model; fit one model for each",
    "sklearn.MultiOutputRegressor": "several targets cannot be served by one model; fit one model for each",
    "sklearn.NMF": "it solves a problem for each row; use PCA or TruncatedSVD",
    "sklearn.OneClassSVM": "its distances have no score between 0 and 1; use IsolationForest",
    "sklearn.OutputCodeClassifier": "it has no probabilities and no decision function; use OneVsRestClassifier",
    "sklearn.RadiusNeighborsClassifier": "rows without neighbours have no answer; use KNeighborsClassifier",
    "sklearn.RadiusNeighborsRegressor": "rows without neighbours have no answer; use KNeighborsRegressor",
    "sklearn.RegressorChain": "several targets cannot be served by one model; fit one model for each",
    "sklearn.SGDOneClassSVM": "its distances have no score between 0 and 1; use IsolationForest",
}
