"""Words of other libraries: aliases resolve, wrong keywords and methods lead to the right one."""

from __future__ import annotations

import copy
import inspect
import pickle

import numpy as np
import pytest

import deltarule as dr
from deltarule.base.errors import plain
from deltarule.base.settings import Setting, describe, members
from members import own

FAMILIES = {
    kind.family: kind
    for kind in Setting.__subclasses__()
    if kind.__module__.startswith("deltarule.")
}
KINDS = [members(family)[name] for family in FAMILIES for name in own(family)]
NEEDS = {"constant", "embedding", "dense", "activation", "residual", "function"}


def other_names(kind):
    return (*vars(kind).get("aliases", ()), kind.__name__)


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: f"{k.family}-{k.name}")
def test_an_alias_in_any_spelling_is_the_class_of_that_name_and_files_hold_the_name(kind):
    if kind.name in NEEDS or kind.family == "schedule":
        return
    expected = FAMILIES[kind.family].resolve(kind.name)
    for alias in other_names(kind):
        for spelt in (alias, alias.upper(), alias.replace("_", "-"), alias.replace("_", " ")):
            found = FAMILIES[kind.family].resolve(spelt)
            assert found == expected, spelt
            assert describe(found) == describe(expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_word_stands_for_two_things_of_a_family(family):
    seen = {}
    for name in own(family):
        kind = members(family)[name]
        for word in {plain(w) for w in (name, *other_names(kind))}:
            assert seen.setdefault(word, kind) is kind, word
    for word in FAMILIES[family].meanings:
        assert word == plain(word)
        assert word not in seen, f"{word!r} resolves: it needs no meaning"


@pytest.mark.parametrize(
    ("family", "alias", "name"),
    [
        ("loss", "mse", "mean_squared_error"), ("loss", "mae", "mean_absolute_error"),
        ("loss", "bce", "binary_cross_entropy"), ("loss", "ce", "cross_entropy"),
        ("loss", "sparse_categorical_crossentropy", "cross_entropy"),
        ("loss", "nll", "cross_entropy"), ("loss", "SmoothL1", "huber"),
        ("initializer", "xavier", "glorot_uniform"),
        ("initializer", "xavier_normal", "glorot_normal"),
        ("initializer", "kaiming", "he_normal"), ("initializer", "he", "he_normal"),
        ("initializer", "kaiming_uniform", "he_uniform"),
        ("activation", "swish", "silu"), ("activation", "linear", "identity"),
        ("activation", "LeakyReLU", "leaky_relu"), ("activation", "logistic", "sigmoid"),
        ("optimizer", "AdamW", "adamw"), ("optimizer", "RMSProp", "rmsprop"),
        ("metric", "acc", "accuracy"), ("metric", "auc", "roc_auc"), ("metric", "R2", "r2"),
        ("penalty", "ridge", "l2"), ("penalty", "lasso", "l1"), ("clip", "norm", "clip_norm"),
    ],
)  # fmt: skip
def test_the_usual_aliases_resolve(family, alias, name):
    assert FAMILIES[family].resolve(alias).name == name


@pytest.mark.parametrize(
    ("family", "word", "hint"),
    [
        ("optimizer", "momentum", "SGD(0.1, momentum=0.9)"),
        ("optimizer", "AMSGrad", "Adam(amsgrad=True)"),
        ("loss", "hinge", "binary_cross_entropy"),
        ("loss", "rmse", "'mse'"),
        ("loss", "sse", "half of it is 'squared_error'"),
        ("initializer", "ones", "Constant(1.0)"),
        ("schedule", "plateau", "ReduceOnPlateau"),
        ("metric", "error", "1 - 'accuracy'"),
        ("activation", "prelu", "LeakyReLU"),
        ("loss", "bcee", "did you mean 'binary_cross_entropy'?"),
    ],
)
def test_a_word_of_similar_meaning_leads_on(family, word, hint):
    with pytest.raises(dr.InvalidValueError) as caught:
        FAMILIES[family].resolve(word)
    assert hint in str(caught.value)


NET = dr.Network([dr.Dense(2, "relu"), dr.Dense(1)], inputs=2)
X, Y = np.zeros((4, 2)), np.zeros(4)
WRONG_CALLS = [
    (lambda: dr.Adam(lr=0.1), "Adam has no setting 'lr'; it is called learning_rate"),
    (lambda: dr.Adam(beta_1=0.9), "it is called beta1"),
    (lambda: dr.Adam(betas=(0.9, 0.99)), "beta1=0.9, beta2=0.999"),
    (lambda: dr.Adam(momentum=0.9), "beta1 plays that part"),
    (lambda: dr.SGD(momentun=0.9), "did you mean 'momentum'?"),
    (lambda: dr.SGD(0.1, weight_decay=0.1), "penalty=dr.L2"),
    (lambda: dr.RMSprop(alpha=0.9), "it is called rho"),
    (lambda: dr.Dropout(p=0.5), "Dropout has no setting 'p'; it is called rate"),
    (lambda: dr.Dropout(keep_prob=0.5), "rate = 1 - keep_prob"),
    (lambda: dr.Dense(), "Dense needs units"),
    (lambda: dr.Dense(3, input_dim=2), "inputs=..."),
    (lambda: dr.Dense(3, use_bias=False), "it is called bias"),
    (lambda: dr.Dense(3, kernel_regularizer="l2"), "it is called penalty"),
    (lambda: dr.Dense(3, colour="red"), "it takes "),
    (lambda: dr.activations.LeakyReLU(alpha=0.1), "it is called negative_slope"),
    (lambda: dr.Huber(delta=1.0), "it is called threshold"),
    (lambda: dr.CrossEntropy(from_logits=True), "leave it out"),
    (lambda: dr.L2(lam=0.1), "it is called strength"),
    (lambda: dr.Cosine(T_max=9), "it is called length"),
    (lambda: dr.Step(0.1, step_size=9), "it is called every"),
    (lambda: dr.BatchNorm(num_features=3), "takes its width from"),
    (lambda: dr.EarlyStopping(restore_best_weights=True), "it is called restore_best"),
    (lambda: dr.EarlyStopping(mode="min"), "it is called best_is"),
    (lambda: dr.ReduceOnPlateau(min_lr=0.1), "it is called smallest"),
    (lambda: dr.Network([dr.Dense(1)]), "Network needs inputs="),
    (lambda: dr.Network([dr.Dense(1)], input_dim=2), "it is called inputs"),
    (lambda: dr.Network([dr.Dense(1)], 2, 0), "takes 2 arguments by position"),
    (lambda: dr.Network([dr.Dense(1)], 2, inputs=2), "got 'inputs' twice"),
    (lambda: dr.train(NET, X, Y), "train() needs loss="),
    (lambda: dr.train(NET, X, Y, "mse"), "give the others by name: loss="),
    (lambda: dr.train(NET, X, Y, loss="mse", lr=0.1), "optimizer=dr.Adam(learning_rate=1e-3)"),
    (lambda: dr.train(NET, X, Y, loss="mse", learning_rate=1), "dr.Adam(learning_rate=1e-3)"),
    (lambda: dr.train(NET, X, Y, loss="mse", verbose=0), "it is called progress"),
    (lambda: dr.train(NET, X, Y, loss="mse", num_epochs=1), "it is called epochs"),
    (lambda: dr.train(NET, X, Y, loss="mse", n_iter=1), "it is called epochs"),
    (lambda: dr.train(NET, X, Y, loss="mse", validation_split=0.1), "it is called validation"),
    (lambda: dr.train(NET, X, Y, loss="mse", validation_data=(X, Y)), "it is called validation"),
    (lambda: dr.train(NET, X, Y, loss="mse", patience=3), "EarlyStopping(patience=10)"),
    (lambda: dr.restart(NET, X, Y, loss="mse", n_init=3), "it is called restarts"),
    (lambda: dr.evaluate(NET, X, Y), "evaluate() needs loss="),
    (lambda: dr.backpropagate(NET, X=X, y=Y, loss="mse"), "it is called x"),
    (lambda: dr.check_gradients(NET, X, Y, "mse", tol=1), "it is called tolerance"),
    (lambda: dr.Trainer(NET, "mse", epochs=3), "argument of dr.train and of trainer.run"),
    (lambda: dr.Trainer(NET, "mse").run(X, Y, epoch=3), "it is called epochs"),
    (lambda: dr.Trainer(NET, "mse").step(X), "Trainer.step() needs y"),
    (lambda: NET.predict(X, verbose=0), "Network.predict() has no argument 'verbose'"),
    (lambda: NET.predict(X, 32), "give the others by name: batch_size="),
    (lambda: NET.freeze(layer="0"), "give names by position: '0', '1.bias'"),
    (lambda: NET.scale_learning_rate(0.5, name="0"), "by position: factor, '0'"),
    (lambda: dr.Dense(3, trainable=False), "net.freeze('0')"),
    (lambda: dr.train(NET, X, Y, loss="mse", clipnorm=1.0), "clip=dr.ClipNorm(1.0)"),
    (lambda: dr.train(NET, X, Y, loss="mse", steps_per_epoch=3), "one pass over X"),
    (lambda: dr.Adam("cosine"), "did you mean Cosine?"),
    (lambda: dr.Adam("adaptive"), "callbacks=[ReduceOnPlateau()]"),
    (lambda: NET.copy(precision="float64"), "it is called dtype"),
    (lambda: NET.save(), "a path or a binary file"),
    (lambda: NET(X), "net.predict(X) runs it forward"),
]


@pytest.mark.parametrize(("call", "words"), WRONG_CALLS, ids=[words for _, words in WRONG_CALLS])
def test_a_wrong_call_is_answered_with_the_right_one(call, words):
    with pytest.raises(dr.InvalidTypeError) as caught:
        call()
    assert words in str(caught.value)
    assert (caught.value.__cause__ is None and caught.value.__suppress_context__) or words


def test_a_type_error_from_within_is_not_touched():
    def metric(y, a, w):
        raise TypeError("my own")

    with pytest.raises(TypeError, match="my own"):
        dr.evaluate(NET, X, Y, "mse", metrics=[metric])


@pytest.mark.parametrize(
    ("thing", "name", "words"),
    [
        (NET, "fit", "dr.train(net, X, y, loss=...)"), (NET, "forward", "net.predict(X)"),
        (NET, "weights", "net.parameters"), (NET, "state_dict", "net.parameters"),
        (NET, "compile", "arguments"), (NET, "evaluate", "dr.evaluate"),
        (NET, "sumary", "did you mean 'summary'?"), (NET, "colour", "it has "),
        (dr.Trainer(NET, "mse"), "fit", "trainer.run"),
        (dr.Trainer(NET, "mse"), "lr", "optimizer"),
        (dr.History("x"), "history", "history['loss']"),
        (dr.backpropagate(NET, X, Y, "mse"), "grad", "trace.gradients"),
        (dr.backpropagate(NET, X, Y, "mse"), "lossess", "did you mean 'losses'?"),
        (dr.check_gradients(NET, X, Y, "mse"), "passed", "check.ok"),
        (dr, "Sequential", "dr.Network"), (dr, "Adamm", "did you mean 'Adam'?"),
        (dr, "CrossEntropyLoss", "dr.CrossEntropy"),
    ],
)  # fmt: skip
def test_a_missing_attribute_leads_on(thing, name, words):
    with pytest.raises(dr.InvalidAttributeError) as caught:
        getattr(thing, name)
    assert f"no attribute {name!r}; " in str(caught.value)
    assert words in str(caught.value)
    assert not hasattr(thing, name)
    assert getattr(thing, name, 3) == 3


def test_protocols_find_what_they_found():
    trainer, trace = dr.Trainer(NET, "mse"), dr.backpropagate(NET, X, Y, "mse")
    for thing in (NET, trainer, trace, dr.History("x"), dr.check_gradients(NET, X, Y, "mse")):
        assert type(copy.copy(thing)) is type(thing)
        assert type(pickle.loads(pickle.dumps(thing))) is type(thing)
        assert type(copy.deepcopy(thing)) is type(thing)
        assert not hasattr(thing, "__array__")
    assert pickle.loads(pickle.dumps(dr.train)) is dr.train
    assert inspect.signature(dr.Adam).parameters["beta1"].default == 0.9
    assert list(inspect.signature(dr.Network).parameters)[:2] == ["layers", "inputs"]
    assert list(inspect.signature(NET.predict).parameters) == [
        "X", "batch_size", "engine", "threads"
    ]  # fmt: skip
    assert "loss" in inspect.signature(dr.train).parameters


def test_everything_public_answers_a_keyword_that_nothing_has():
    for name in dr.__all__:
        thing = getattr(dr, name)
        if not callable(thing) or (inspect.isclass(thing) and issubclass(thing, BaseException)):
            continue
        if name == "Callback":  # it takes nothing, and a user's own takes what it likes
            continue
        with pytest.raises(dr.InvalidTypeError, match="'colour'"):
            thing(colour="red")
