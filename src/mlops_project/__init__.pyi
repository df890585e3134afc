from mlops_project.interface.handing import export as export
from mlops_project.interface.handing import log as log
from mlops_project.interface.making import train as train
from mlops_project.interface.model import Model as Model
from mlops_project.interface.model import load as load

__version__: str
