"""What the core is asked for: steps from a position within an epoch on, over rows in an order."""

import numpy as np
import pytest

import deltarule as dr
from deltarule.base.random import Purpose, permutations_in_numpy, words
from deltarule.engines import native
from deltarule.plan import compile_network
from problems import examples

D = dr.Dense
ADAM = dr.Adam(1e-2)
X, Y = examples("squared_error", 2, n=23)


class Course:
    """A network, its executor and its records."""

    def __init__(self, layers=None, epochs=3):
        layers = layers or [D(9, "tanh"), dr.Dropout(0.2), D(2)]
        self.net = dr.Network(layers, inputs=7, seed=1, dtype="float64")
        self.plan = compile_network(
            self.net, loss="squared_error", optimizer=ADAM, penalty=dr.L2(1e-2)
        )
        network = native._description(self.plan, self.net)
        self.executor = native.core().Executor(network, bits=64, threads=1)
        self.losses, self.weights, self.penalties = np.zeros((3, epochs))
        self.squares = np.zeros((epochs, len(self.plan.parameters)))
        self.updates = np.zeros(epochs, np.int64)
        self.of_steps = np.zeros((15, 2))

    def train(
        self, first, steps, *, order=None, batch_size=5, per_epoch=5, outputs=None, by_row=True
    ):
        """Do steps [first, first + steps) of a course that begins with batch 0 of epoch 0."""
        epoch, batch = divmod(first, per_epoch)
        touched = slice(epoch, (first + steps - 1) // per_epoch + 1)
        if order is not None and len(order) > 1:
            order = order[touched]
        t = np.arange(first + 1.0, first + steps + 1)
        outcome = np.zeros(3, np.int64)
        self.executor.train(
            x=X, y=Y, weights=None, order=order, batch_size=batch_size, steps_per_epoch=per_epoch,
            first_batch=batch, first_step=first, steps=steps, seed=7,
            scalars=ADAM.scalars(t, np.full(steps, 1e-2)), parameters=self.net.vector,
            running=self.net.state_vector, outputs=outputs, outputs_by_row=by_row,
            loss_sum=self.losses[touched], weight_sum=self.weights[touched],
            penalty_sum=self.penalties[touched], gradient_squares=self.squares[touched],
            updates=self.updates[touched], step_losses=self.of_steps[first : first + steps],
            stop=lambda: False, outcome=outcome,
        )  # fmt: skip
        return dict(zip(("steps_done", "interrupted", "diverged"), outcome.tolist(), strict=True))

    def everything(self):
        state = np.zeros((2, len(self.net.vector)))
        self.executor.get_optimizer_state(state)
        arrays = (
            self.net.vector, state, self.losses, self.weights, self.penalties, self.updates,
            self.of_steps,
        )  # fmt: skip
        return b"".join(a.tobytes() for a in arrays)


def orders(count, visited=23, seed=3):
    rng = np.random.default_rng(seed)
    return np.array([rng.permutation(23)[:visited] for _ in range(count)])


@pytest.mark.parametrize("order", [None, orders(1), orders(3), orders(3, 21)], ids=str)
@pytest.mark.parametrize("cuts", [[1] * 15, [5, 5, 5], [3, 4, 8], [7, 8], [14, 1]], ids=str)
def test_steps_may_be_cut_anywhere(order, cuts, target):
    """Also in mid-epoch: each call says where it begins, and adds to the records."""
    whole, parts = Course(), Course()
    done = whole.train(0, 15, order=order)
    assert done == {"steps_done": 15, "interrupted": 0, "diverged": -2}
    first = 0
    for steps in cuts:
        assert parts.train(first, steps, order=order)["steps_done"] == steps
        first += steps
    assert whole.everything() == parts.everything()
    np.testing.assert_allclose(whole.squares, parts.squares, rtol=1e-14)  # added in another order
    visited = 23 if order is None else order.shape[1]
    np.testing.assert_array_equal(whole.weights, visited)
    np.testing.assert_array_equal(whole.updates, 5)


def test_the_losses_of_steps_add_up_to_those_of_epochs(target):
    course = Course()
    course.train(0, 15)
    rows = np.tile([5.0, 5, 5, 5, 3], (3, 1))
    data_losses, penalties = course.of_steps.reshape(3, 5, 2).transpose(2, 0, 1)
    np.testing.assert_allclose((rows * data_losses).sum(axis=1), course.losses, rtol=1e-14)
    np.testing.assert_allclose(penalties.sum(axis=1), course.penalties, rtol=1e-14)


def test_an_order_is_the_rows_themselves(target):
    """Row e of the orders is the e-th epoch's; fewer rows than there are may be visited."""
    chosen = orders(2, 13)
    by_order = Course([D(9, "tanh"), D(2)])
    by_order.train(0, 6, order=chosen, per_epoch=3)
    by_rows = Course([D(9, "tanh"), D(2)])
    for epoch in range(2):
        for batch, rows in enumerate((chosen[epoch, :5], chosen[epoch, 5:10], chosen[epoch, 10:])):
            one = Course([D(9, "tanh"), D(2)], epochs=1)
            one.net.vector[:] = by_rows.net.vector
            one.executor = by_rows.executor
            t = np.array([epoch * 3.0 + batch + 1])
            one.executor.train(
                x=X[rows], y=Y[rows], weights=None, order=None, batch_size=5, steps_per_epoch=1,
                first_batch=0, first_step=0, steps=1, seed=7,
                scalars=ADAM.scalars(t, np.full(1, 1e-2)), parameters=by_rows.net.vector,
                running=by_rows.net.state_vector, outputs=None, outputs_by_row=True,
                loss_sum=one.losses, weight_sum=one.weights,
                penalty_sum=one.penalties, gradient_squares=one.squares, updates=one.updates,
                step_losses=one.of_steps, stop=lambda: False, outcome=np.zeros(3, np.int64),
            )  # fmt: skip
    assert by_order.net.vector.tobytes() == by_rows.net.vector.tobytes()


def test_outputs_are_stored_by_row_or_by_position(target):
    order = orders(3, 21)
    by_row, by_position = np.full((23, 2), np.nan), np.full((36, 2), np.nan)
    Course().train(0, 5, order=order, outputs=by_row)
    assert np.isnan(by_row).any(axis=1).sum() == 2  # rows that no batch had
    twin = Course()
    twin.train(0, 2, order=order)
    twin.train(2, 3, order=order, outputs=by_position, by_row=False)
    np.testing.assert_array_equal(by_position[:11], by_row[order[0, 10:21]])
    assert np.isnan(by_position[11:]).all()
    twin.train(
        5, 8, order=order, outputs=by_position, by_row=False
    )  # 21 rows, and 13 of the next epoch
    assert not np.isnan(by_position).any(axis=1)[: 21 + 13].any()
    with pytest.raises(ValueError, match="outputs"):
        twin.train(5, 9, order=order, outputs=by_position, by_row=False)


def test_no_steps_do_nothing(target):
    course = Course()
    before = course.everything()
    assert course.train(0, 0)["steps_done"] == 0
    assert course.everything() == before


def test_a_batch_larger_than_the_data_is_all_of_them(target):
    a, b = Course(), Course()
    a.train(0, 3, batch_size=23, per_epoch=1)
    b.train(0, 3, batch_size=10**15, per_epoch=1)
    assert a.everything() == b.everything()


@pytest.mark.parametrize("n", [0, 1, 2, 31, 32, 33, 255, 256, 257, 5000, 70_000])
@pytest.mark.parametrize("seed", [0, 2**40 + 7, 2**64 - 1])
def test_random_orders_are_those_of_the_reference(n, seed, target):
    count, first = 3, 2**33 + 1
    found = native.core().permutations(
        seed=seed, purpose=Purpose.SHUFFLE, first_step=first, count=count, row=0, n=n
    )
    assert found.shape == (count, n)
    assert found.dtype == np.int64
    for e in range(count):
        expected = permutations_in_numpy(seed, Purpose.SHUFFLE, n, first_step=first + e)[0]
        np.testing.assert_array_equal(found[e], expected)


@pytest.mark.parametrize("n", [5, 100, 300])
def test_random_orders_of_a_row_of_the_counter(n, target):
    drawn = words(5, Purpose.SPLIT, rows=4, columns=n, step=9)
    for row in range(4):
        found = native.core().permutations(
            seed=5, purpose=Purpose.SPLIT, first_step=9, count=1, row=row, n=n
        )
        np.testing.assert_array_equal(found[0], np.argsort(drawn[row], kind="stable"))


@pytest.mark.parametrize(
    "wrong",
    [dict(n=-1), dict(count=-1), dict(purpose=16), dict(seed=-1), dict(seed=2**64), dict(row=-1),
     dict(n=2**32, count=1), dict(n=2**40, count=2**40)],
    ids=str,
)  # fmt: skip
def test_random_orders_that_there_are_not(wrong):
    given = dict(seed=0, purpose=1, first_step=0, count=0, row=0, n=4) | wrong
    with pytest.raises((ValueError, TypeError)):
        native.core().permutations(**given)
