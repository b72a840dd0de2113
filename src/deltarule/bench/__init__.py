"""Measure training, prediction and start-up beside the other libraries installed here.

>>> from deltarule.bench import short_form, show
>>> result = short_form(["torch", "sklearn"], workloads=["W3"])  # doctest: +SKIP
>>> show(result)                                                 # doctest: +SKIP

benchmarks/README.md describes how it is measured, and what is fair and unfair about it.
"""

from deltarule.bench.forms import full_form as full_form
from deltarule.bench.forms import print_short_form as print_short_form
from deltarule.bench.forms import short_form as short_form
from deltarule.bench.forms import show as show
from deltarule.bench.peers import PEERS as PEERS
from deltarule.bench.plot import write as write
from deltarule.bench.result import Comparison as Comparison
from deltarule.bench.result import Entry as Entry
from deltarule.bench.result import Result as Result
from deltarule.bench.workloads import WORKLOADS as WORKLOADS
from deltarule.bench.workloads import Workload as Workload
from deltarule.bench.workloads import choices as choices
