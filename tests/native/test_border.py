"""Below the checks of Python the core refuses what it does not know or leads out of bounds."""

import numpy as np
import pytest

import deltarule as dr
from deltarule.engines import native
from deltarule.plan import compile_network

core = native.core()
D = dr.Dense


def description(layers=None, loss="cross_entropy", optimizer="adam"):
    layers = layers or [
        D(3, dr.activations.ELU(0.5)), dr.BatchNorm(), dr.Dropout(0.1), dr.Residual([D(3)]),
        D(2, "softmax"),
    ]  # fmt: skip
    net = dr.Network(layers, inputs=4, seed=0)
    plan = compile_network(net, loss=loss, optimizer=optimizer)
    return native._description(plan, net), net


def executor(network):
    return core.Executor(network, bits=32, threads=1)


def change_operation(kind, **attributes):
    """Return what changes some attributes of the first operation of a kind."""

    def spoil(d):
        operations = d.operations
        op = next(op for op in operations if op.kind == kind)
        for name, value in attributes.items():
            setattr(op, name, value(getattr(op, name)) if callable(value) else value)
        d.operations = operations

    return spoil


def change_parameter(i, **attributes):
    def spoil(d):
        parameters = d.parameters
        for name, value in attributes.items():
            setattr(parameters[i], name, value)
        d.parameters = parameters

    return spoil


def assign(name, value):
    return lambda d: setattr(d, name, value(d) if callable(value) else value)


WIDE = 2**40
SPOILT = {
    "a source beyond the slots": change_operation("dense", sources=[99]),
    "a negative source": change_operation("dense", sources=[-1]),
    "a source that nothing has written": change_operation("dense", sources=[2]),
    "no source": change_operation("dense", sources=[]),
    "one source too many": change_operation("dense", sources=[0, 0]),
    "one source too few": change_operation("add", sources=lambda s: s[:1]),
    "a target beyond the slots": change_operation("dense", target=99),
    "the input as a target": change_operation("dense", target=0),
    "another one's target": change_operation("activation", target=1),
    "a parameter that is missing": change_operation("dense", parameters={"bias": 1}),
    "a parameter of another kind": change_operation("dense", parameters={"weight": 0, "scale": 1}),
    "a parameter beyond the list": change_operation("dense", parameters={"weight": 99}),
    "a negative parameter": change_operation("dense", parameters={"weight": -1}),
    "a parameter of the wrong shape": change_operation("dense", parameters={"weight": 1}),
    "parameters in each other's place": change_operation(
        "dense", parameters={"weight": 1, "bias": 0}
    ),
    "a parameter that nothing has": change_operation("dense", parameters={"weight": 0}),
    "a statistic that is missing": change_operation("batch_norm", state={"mean": 0}),
    "a statistic beyond the vector": change_operation(
        "batch_norm", state={"mean": 0, "variance": 4}
    ),
    "a negative statistic": change_operation("batch_norm", state={"mean": -1, "variance": 3}),
    "a setting that is missing": change_operation("batch_norm", settings={"epsilon": 1e-5}),
    "a setting that the function has not": change_operation("activation", settings={"slope": 0.1}),
    "a setting that is NaN": change_operation("activation", settings={"alpha": float("nan")}),
    "no setting of the function": change_operation("activation", settings={}),
    "a rate of 1": change_operation("dropout", settings={"rate": 1.0}),
    "a position beyond the counter": change_operation("dropout", position=1 << 20),
    "widths that differ": change_operation("activation", sources=[0]),
    "an offset beyond the vector": change_parameter(0, offset=WIDE),
    "a negative offset": change_parameter(0, offset=-1),
    "parameters that overlap": change_parameter(1, offset=0),
    "a parameter without rows": change_parameter(0, rows=0),
    "more values than a number holds": change_parameter(0, rows=2**62, columns=2**62),
    "a penalty below 0": change_parameter(0, l2=-1.0),
    "a shorter vector": assign("parameter_count", 5),
    "a negative length": assign("parameter_count", -1),
    "shorter statistics": assign("state_count", 1),
    "other widths": assign("widths", lambda d: [5, *d.widths[1:]]),
    "a width of 0": assign("widths", lambda d: [0, *d.widths[1:]]),
    "no widths": assign("widths", []),
    "a slot that nothing writes": assign("widths", lambda d: [*d.widths, 3]),
    "no operations": assign("operations", []),
    "operations in another order": assign("operations", lambda d: d.operations[::-1]),
    "no parameters": assign("parameters", []),
    "a loss without its setting": assign("loss_settings", {}),
    "a loss with another's setting": assign("loss_settings", {"threshold": 1.0}),
    "a loss apart from its activation": assign("canonical", False),
    "a rule without a loss": lambda d: [setattr(d, "loss", None), setattr(d, "loss_settings", {})],
    "a negative limit": assign("clip_norm", -1.0),
    "no work": assign("work_per_thread", 0.0),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_description_that_cannot_be_run_is_refused(name):
    network, _ = description()
    executor(network)
    SPOILT[name](network)
    with pytest.raises(ValueError, match="native core: "):
        executor(network)


def test_unknown_names_are_refused():
    op, network = core.Operation(), core.Description()
    for what, name in ((op, "kind"), (op, "activation"), (network, "loss"), (network, "rule")):
        with pytest.raises(ValueError, match=r"knows no .* named 'vax'"):
            setattr(what, name, "vax")
        with pytest.raises(TypeError):
            setattr(what, name, 3)
    for name in ("gather", "loss"):  # the compiler's own
        with pytest.raises(ValueError, match="knows no operation"):
            op.kind = name
    network.loss = network.rule = None
    assert network.loss is network.rule is None


@pytest.mark.parametrize("bits", [0, 16, 128])
def test_only_two_dtypes_are_known(bits):
    with pytest.raises(ValueError, match="bits"):
        core.Executor(description()[0], bits=bits, threads=1)


def arguments(net, **changed):
    """Return what one epoch of three batches is trained with."""
    rng = np.random.default_rng(0)
    given = dict(
        x=rng.normal(size=(8, 4)), y=rng.integers(0, 2, 8), weights=None, order=None, batch_size=3,
        steps_per_epoch=3, first_batch=0, first_step=0, steps=3, seed=0,
        scalars=dr.Adam().scalars(np.arange(1.0, 4), np.full(3, 1e-3)), parameters=net.vector,
        running=net.state_vector, outputs=None, outputs_by_row=True, loss_sum=np.zeros(1),
        weight_sum=np.zeros(1), penalty_sum=np.zeros(1),
        gradient_squares=np.zeros((1, len(net.parameters))), updates=np.zeros(1, np.int64),
        step_losses=np.zeros((3, 2)), outcome=np.zeros(3, np.int64), stop=lambda: False,
    )  # fmt: skip
    return given | changed


ORDER = np.arange(8)[None]
REFUSED = {
    "x of other columns": dict(x=np.ones((8, 5))),
    "x without columns": dict(x=np.ones(8)),
    "x of three dimensions": dict(x=np.ones((8, 4, 1))),
    "x without rows": dict(x=np.ones((0, 4)), y=np.zeros(0, np.int64)),
    "x of another dtype": dict(x=np.ones((8, 4), np.int16)),
    "x whose rows are not contiguous": dict(x=np.ones((8, 8))[:, ::2]),
    "fewer labels": dict(y=np.zeros(7, np.int64)),
    "a label that is no class": dict(y=np.full(8, 2)),
    "a negative label": dict(y=np.full(8, -1)),
    "labels that are no integers": dict(y=np.zeros(8)),
    "targets of other columns": dict(y=np.zeros((8, 3))),
    "no targets": dict(y=None),
    "fewer weights": dict(weights=np.ones(7)),
    "weights of float32": dict(weights=np.ones(8, np.float32)),
    "weights in a column": dict(weights=np.ones((8, 1))),
    "an order beyond the data": dict(order=ORDER + 1),
    "a negative order": dict(order=ORDER - 1),
    "an order without a row for each epoch": dict(order=ORDER[0]),
    "an order of int32": dict(order=ORDER.astype(np.int32)),
    "an order that skips": dict(order=np.repeat(ORDER, 2, 1)[:, ::2]),
    "too few orders": dict(
        order=np.repeat(ORDER, 2, 0), steps=9, scalars=np.ones((9, 6)), step_losses=np.zeros((9, 2))
    ),
    "an order of nothing": dict(order=np.zeros((1, 0), np.int64)),
    "a batch of nothing": dict(batch_size=0),
    "a negative batch": dict(batch_size=-1),
    "more batches than there are": dict(steps_per_epoch=4),
    "more batches than are visited": dict(order=ORDER[:, :6]),
    "no batches": dict(steps_per_epoch=0),
    "a first batch beyond the epoch": dict(first_batch=3),
    "a negative first batch": dict(first_batch=-1),
    "a negative number of steps": dict(steps=-1),
    "a negative step": dict(first_step=-1),
    "a negative seed": dict(seed=-1),
    "more steps than scalars": dict(steps=4, step_losses=np.zeros((4, 2))),
    "scalars of another rule": dict(scalars=np.ones((3, 5))),
    "scalars of float32": dict(scalars=np.ones((3, 6), np.float32)),
    "scalars that skip": dict(scalars=np.ones((3, 12))[:, ::2]),
    "other parameters": dict(parameters=np.zeros(3, np.float32)),
    "parameters of float64": dict(parameters=np.zeros(41)),
    "other statistics": dict(running=np.zeros(3, np.float32)),
    "outputs of other rows": dict(outputs=np.zeros((7, 2), np.float32)),
    "outputs of other columns": dict(outputs=np.zeros((8, 1), np.float32)),
    "outputs of float64": dict(outputs=np.zeros((8, 2))),
    "a record for fewer epochs": dict(first_batch=1),
    "a record of fewer parameters": dict(gradient_squares=np.zeros((1, 2))),
    "a record of float32": dict(loss_sum=np.zeros(1, np.float32)),
    "a record of updates in float64": dict(updates=np.zeros(1)),
    "losses of fewer steps": dict(step_losses=np.zeros((2, 2))),
    "one loss for each step": dict(step_losses=np.zeros((3, 1))),
    "an outcome of two numbers": dict(outcome=np.zeros(2, np.int64)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_steps_that_would_lead_out_of_bounds_are_refused(name):
    network, net = description()
    made = executor(network)
    made.train(**arguments(net))
    before = net.vector.copy()
    with pytest.raises((ValueError, TypeError)):
        made.train(**arguments(net, **REFUSED[name]))
    np.testing.assert_array_equal(net.vector, before)


def test_parameters_that_must_not_be_written_are_refused():
    network, net = description()
    vector = net.vector.copy()
    vector.flags.writeable = False
    with pytest.raises(TypeError):
        executor(network).train(**arguments(net, parameters=vector))


def test_labels_belong_to_a_loss_of_classes():
    network, net = description([D(2)], "squared_error")
    with pytest.raises(ValueError, match="y has the wrong form"):
        executor(network).train(**arguments(net))


def test_what_only_predicts_is_not_trained():
    network, net = description()
    network.rule = None
    with pytest.raises(ValueError, match="only predicts"):
        executor(network).train(**arguments(net))
    network.loss, network.loss_settings = None, {}
    made = executor(network)
    x, out = np.ones((3, 4)), np.zeros((3, 2), np.float32)
    given = dict(weights=None, parameters=net.vector, running=net.state_vector)
    with pytest.raises(ValueError, match="only predicts"):
        made.forward(x=x, y=np.zeros(3, np.int64), out=None, **given)
    for wrong in (np.zeros((2, 2), np.float32), np.zeros((3, 2)), np.zeros((3, 3), np.float32)):
        with pytest.raises(ValueError, match="an array has the wrong"):
            made.forward(x=x, y=None, out=wrong, **given)
    made.forward(x=x, y=None, out=out, **given)
    np.testing.assert_allclose(out.sum(axis=1), 1, rtol=1e-6)


def test_the_state_of_the_optimizer_has_the_size_of_its_rule():
    network, net = description()
    made = executor(network)
    for rows in (0, 1, 3):
        with pytest.raises(ValueError, match="an array has the wrong size"):
            made.get_optimizer_state(np.zeros((rows, len(net.vector)), np.float32))
    state = np.arange(2.0 * len(net.vector), dtype=np.float32).reshape(2, -1)
    made.set_optimizer_state(state)
    found = np.zeros_like(state)
    made.get_optimizer_state(found)
    np.testing.assert_array_equal(found, state)
