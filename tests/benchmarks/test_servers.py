"""What a server counts, as its callers need it."""

from benchmarks.servers import add_up_counters

_EXPOSITION = """\
# TYPE diffmask_forward_passes_total counter
diffmask_forward_passes_total{model="a",purpose="explain"} 3.0
diffmask_forward_passes_total{model="a",purpose="verify"} 4.0
# TYPE diffmask_forward_passes_created gauge
diffmask_forward_passes_created{model="a",purpose="verify"} 1.7e+09
# TYPE grpc_server_handled_total counter
grpc_server_handled_total{grpc_method="Explain",grpc_code="OK"} 5.0
grpc_server_handled_total{grpc_method="Explain",grpc_code="INTERNAL"} 1.0
grpc_server_handled_total{grpc_method="GetModel",grpc_code="OK"} 2.0
"""


def test_counters_add_up_over_labels_and_by_status() -> None:
    assert add_up_counters(_EXPOSITION) == {
        "diffmask_forward_passes_total": 7,
        "grpc_server_handled_total": 8,
        "grpc_server_handled_total:OK": 7,
        "grpc_server_handled_total:INTERNAL": 1,
    }
