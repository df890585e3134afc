from mlops_project.interface.handing import export as export
from mlops_project.interface.handing import log as log
from mlops_project.interface.making import train as train
from mlops_project.interface.model import Model as Model
from mlops_project.interface.model import load as load
from mlops_project.interface.operations import approve as approve
from mlops_project.interface.operations import compare as compare
from mlops_project.interface.operations import drift as drift
from mlops_project.interface.operations import evaluate as evaluate
from mlops_project.interface.operations import explain as explain
from mlops_project.interface.operations import history as history
from mlops_project.interface.operations import promote as promote
from mlops_project.interface.operations import rollback as rollback
from mlops_project.interface.operations import score as score
from mlops_project.interface.searching import tune as tune

__version__: str
