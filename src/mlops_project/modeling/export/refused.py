"""Known steps without an exact export: why, and what to use instead."""

REFUSED: dict[str, str] = {
    "sklearn.BayesianGaussianMixture": "it finds groups and predicts no target; use a classifier",
    "sklearn.FeatureHasher": "its hashes have no exact operator; use OneHotEncoder",
    "sklearn.GaussianProcessClassifier": "its integrals have no exact operator; use SVC in CalibratedClassifierCV",
    "sklearn.GaussianProcessRegressor": "its kernels are combined freely; use SVR",
    "sklearn.HashingVectorizer": "a row of its hashes is a million columns wide; use TfidfVectorizer(max_features=...)",
    "sklearn.IsolationForest": "it predicts no target of a table; use a classifier",
    "sklearn.IterativeImputer": "its rounds of regressions are not followed to the last digit; use SimpleImputer",
    "sklearn.KernelPCA": "its kernels of every training row are not followed yet; use PCA or RBFSampler",
    "sklearn.KNNImputer": "which of two neighbours at the same distance fills a gap depends on its search; use SimpleImputer",
    "sklearn.LabelBinarizer": "it is for targets; use OneHotEncoder for columns",
    "sklearn.LabelEncoder": "it is for targets; use OrdinalEncoder for columns",
    "sklearn.MultiOutputClassifier": "several targets cannot be served by one model; fit one model for each",
    "sklearn.MultiOutputRegressor": "several targets cannot be served by one model; fit one model for each",
    "sklearn.NMF": "it solves a problem for each row; use PCA or TruncatedSVD",
    "sklearn.Nystroem": "its kernels are not followed yet; use RBFSampler",
    "sklearn.OneVsOneClassifier": "it has no probabilities; use OneVsRestClassifier",
    "sklearn.OutputCodeClassifier": "it has no probabilities; use OneVsRestClassifier",
    "sklearn.RadiusNeighborsClassifier": "rows without neighbours have no answer; use KNeighborsClassifier",
    "sklearn.RadiusNeighborsRegressor": "rows without neighbours have no answer; use KNeighborsRegressor",
}
