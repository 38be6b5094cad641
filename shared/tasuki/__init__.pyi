from tasuki.trainer import Result as Result
from tasuki.trainer import Scores as Scores
from tasuki.trainer import Turn as Turn
from tasuki_python import connect as connect
from tasuki_python import simulate as simulate

__version__: str
