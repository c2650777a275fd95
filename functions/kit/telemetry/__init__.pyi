from .metrics import Gauge as Gauge
from .metrics import Meter as Meter
