"""Words that lead on: what other libraries and textbooks call things, and what this one does.

Everything here runs only after something has failed: an unknown name, a wrong keyword, a missing
method. :func:`helpful` watches the calls of public functions and classes; it adds nothing to a
signature.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import update_wrapper
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar

from deltarule.base.errors import InvalidAttributeError, InvalidTypeError, nearest

_T = TypeVar("_T")

# ------------------------------------------------------------------------------------- the tables

# Ours, and what others call it. One word may stand for several of ours: the first that fits counts.
_CALLED: dict[str, str] = {
    "learning_rate_factor": "lr_factor lr_multiplier lr_scale",
    "beta1": "beta_1 b1",
    "beta2": "beta_2 b2",
    "epsilon": "eps",
    "rho": "alpha beta decay decay_rate smoothing",
    "momentum": "mu beta beta1",
    "weight_decay": "wd decay l2",
    "initial_accumulator": "initial_accumulator_value",
    "negative_slope": "alpha slope leak",
    "alpha": "a negative_slope",
    "rate": "p prob probability drop dropout drop_rate drop_prob dropout_rate",
    "units": "n_units num_units out_features output_dim n_out neurons nodes width size outputs "
    "hidden n_neurons n_outputs hidden_size features",
    "size": "embedding_dim output_dim dim units embedding_size width",
    "categories": "num_embeddings input_dim vocab_size n_categories cardinality cardinalities "
    "num_categories",
    "columns": "cols indices features",
    "inputs": "input_dim input_shape input_size in_features n_features n_inputs num_inputs n_in "
    "n_features_in num_features features",
    "layers": "hidden_layer_sizes layer_sizes modules hidden_layers sizes blocks",
    "activation": "act act_fn activation_function activation_fn nonlinearity transfer_function f "
    "function",
    "function": "activation act f fn func",
    "bias": "use_bias fit_intercept intercept",
    "weight_initializer": "kernel_initializer kernel_init weight_init init initializer "
    "weights_initializer initialization w_init",
    "initializer": "embeddings_initializer weight_initializer init kernel_initializer",
    "bias_initializer": "bias_init b_init",
    "projection_initializer": "weight_initializer kernel_initializer",
    "penalty": "kernel_regularizer regularizer regularization regulariser reg weight_regularizer",
    "constraint": "kernel_constraint weight_constraint max_norm",
    "seed": "random_state random_seed rng generator rng_seed",
    "dtype": "precision datatype type",
    "network": "model net nn module",
    "X": "x data features inputs input train_x x_train X_train",
    "x": "X data features inputs input",
    "y": "t target targets labels label output train_y y_train Y",
    "t": "y target targets labels y_true",
    "a": "y_pred predictions prediction output p",
    "w": "sample_weight weights weight",
    "loss": "criterion loss_fn loss_function loss_func objective cost error",
    "optimizer": "optim opt solver optimiser",
    "epochs": "epoch num_epochs n_epochs nb_epoch max_epochs max_iter n_iter iterations "
    "n_iterations num_iterations rounds passes",
    "batch_size": "batch batchsize minibatch_size mini_batch_size bs batches minibatch",
    "drop_last": "drop_remainder",
    "shuffle": "shuffled order permutation",
    "validation": "validation_data validation_split validation_fraction val_data val validation_set"
    " eval_set eval_data valid val_split test_size test_data valid_data",
    "metrics": "metric scoring scores",
    "clip": "clipping gradient_clip gradient_clipping",
    "sample_weight": "weights weight sample_weights w",
    "class_weight": "class_weights pos_weight",
    "callbacks": "callback hooks",
    "threads": "n_jobs num_workers workers n_threads num_threads nthreads",
    "engine": "backend device implementation",
    "progress": "verbose verbosity show_progress progress_bar disp silent log",
    "restarts": "n_restarts num_restarts n_init trials repeats",
    "restore_best": "restore_best_weights load_best restore keep_best save_best_only",
    "best_is": "mode direction greater_is_better",
    "min_delta": "tol threshold delta min_change tolerance",
    "patience": "n_iter_no_change wait stopping_rounds rounds early_stopping_rounds cooldown",
    "monitor": "metric quantity watch metric_name",
    "smallest": "min_lr min_factor floor",
    "factor": "gamma decay_rate decay drop multiplier",
    "every": "step_size decay_steps steps period drop_every",
    "length": "T_max T_0 decay_steps total_steps steps num_steps total_iters max_iter n_steps "
    "warmup_steps warmup epochs",
    "end": "eta_min end_lr min_lr final_lr end_learning_rate alpha minimum",
    "growth": "T_mult t_mul",
    "rise": "pct_start warmup",
    "start_divisor": "div_factor",
    "end_divisor": "final_div_factor",
    "boundaries": "milestones steps epochs",
    "rates": "values learning_rates lrs",
    "then": "schedule after scheduler after_scheduler",
    "power": "exponent p",
    "unit": "by step_per interval",
    "label_smoothing": "smoothing smooth label_smooth epsilon",
    "threshold": "delta beta d",
    "q": "quantile tau alpha level p",
    "reduction": "reduce size_average aggregate",
    "strength": "l lam lambda_ lmbda alpha coefficient weight factor l1 l2 weight_decay reg rate c",
    "l1": "alpha l1_strength",
    "l2": "lambda_ l2_strength",
    "limit": "max_norm max_value clip_value c maximum norm threshold value clipnorm clipvalue "
    "max_grad_norm",
    "standard_deviation": "std stddev sigma scale sd",
    "mean": "mu loc",
    "low": "minval min a minimum from_",
    "high": "maxval max b maximum to",
    "value": "val fill constant c",
    "path": "file filename filepath fname file_name fp f name",
    "training": "train train_mode is_training",
    "tolerance": "tol rtol atol eps",
    "directions": "n_directions n",
    "every_coordinate": "full exhaustive",
    "name": "layer parameter key",
    "learning_rate": "lr eta eta0 alpha step_size learning_rate_init initial_learning_rate "
    "initial_lr base_lr max_lr peak_lr max_learning_rate rate",
}  # fmt: skip


def _by_other_name() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for ours, others in _CALLED.items():
        for other in others.split():
            found[other] = (*found.get(other, ()), ours)
    return found


_OF_OPTIMIZER = "give it to the optimizer: optimizer=dr.Adam(learning_rate=1e-3)"
_RIGHT_WIDTH = "a layer takes its width from what comes before: dr.Network(layers, inputs=...)"

# What a keyword means where there is no argument for it.
_ADVICE: dict[str, str] = {
    **dict.fromkeys(("learning_rate", *_CALLED["learning_rate"].split()), _OF_OPTIMIZER),
    "momentum": "give it to the optimizer: optimizer=dr.SGD(0.1, momentum=0.9)",
    "nesterov": "give it to the optimizer: optimizer=dr.SGD(0.1, momentum=0.9, nesterov=True)",
    "beta1": "give it to the optimizer: optimizer=dr.Adam(beta1=0.9)",
    "beta2": "give it to the optimizer: optimizer=dr.Adam(beta2=0.999)",
    "beta_1": "give it to the optimizer: optimizer=dr.Adam(beta1=0.9)",
    "beta_2": "give it to the optimizer: optimizer=dr.Adam(beta2=0.999)",
    "betas": "write beta1=0.9, beta2=0.999",
    "weight_decay": "use dr.AdamW(weight_decay=...), or penalty=dr.L2(...) when training",
    "l1": "give penalty=dr.L1(...) when training",
    "l2": "give penalty=dr.L2(...) when training",
    "alpha": "give penalty=dr.L2(...) when training, or optimizer=dr.Adam(learning_rate=...)",
    "l1_ratio": "dr.ElasticNet(l1=..., l2=...) takes both strengths",
    "early_stopping": "give callbacks=[dr.EarlyStopping()] and validation=",
    "patience": "give callbacks=[dr.EarlyStopping(patience=10)]",
    "n_iter_no_change": "give callbacks=[dr.EarlyStopping(patience=10)]",
    "restore_best_weights": "give callbacks=[dr.EarlyStopping(restore_best=True)]",
    "monitor": "give callbacks=[dr.EarlyStopping('val_loss')]",
    "tol": "give callbacks=[dr.EarlyStopping(min_delta=...)]",
    "scheduler": "a schedule is a learning rate: optimizer=dr.Adam(dr.Cosine(1e-3))",
    "lr_scheduler": "a schedule is a learning rate: optimizer=dr.Adam(dr.Cosine(1e-3))",
    "schedule": "a schedule is a learning rate: optimizer=dr.Adam(dr.Cosine(1e-3))",
    "decay": "a schedule is a learning rate: dr.Adam(dr.Exponential(1e-3, factor=0.99))",
    "warm_start": "a Network always goes on from its present weights; net.initialize(seed) resets",
    "max_iter": "passes over the data are epochs= of dr.train",
    "n_iter": "passes over the data are epochs= of dr.train",
    "epochs": "it is an argument of dr.train and of trainer.run",
    "num_epochs": "epochs= is an argument of dr.train and of trainer.run",
    "batch_size": "it is an argument of dr.train and of trainer.run",
    "validation": "it is an argument of dr.train and of trainer.run",
    "progress": "it is an argument of dr.train and of trainer.run",
    "verbose": "progress= is an argument of dr.train and of trainer.run",
    "callbacks": "it is an argument of dr.train and of trainer.run",
    "loss": "it is an argument of dr.train, dr.Trainer and dr.evaluate",
    "optimizer": "it is an argument of dr.train and dr.Trainer",
    "metrics": "it is an argument of dr.train, dr.Trainer and dr.evaluate",
    "dropout": "dropout is a layer: dr.Dropout(0.5)",
    "batch_norm": "it is a layer: dr.BatchNorm()",
    "batchnorm": "it is a layer: dr.BatchNorm()",
    "hidden_layer_sizes": "write the layers: [dr.Dense(100, 'relu'), dr.Dense(1)]",
    "activation": "it belongs to a layer: dr.Dense(10, 'relu')",
    "outputs": "the last layer says how many: dr.Dense(outputs)",
    "output_dim": "the last layer says how many: dr.Dense(outputs)",
    "n_outputs": "the last layer says how many: dr.Dense(outputs)",
    "keep_prob": "rate is the share that is dropped: rate = 1 - keep_prob",
    "keep_rate": "rate is the share that is dropped: rate = 1 - keep_rate",
    "noise_shape": "every value is dropped on its own",
    "from_logits": "leave it out: the loss is computed from logits wherever the network ends with "
    "its own activation",
    "trainable": "freeze parameters of a network with net.freeze('0')",
    "requires_grad": "freeze parameters of a network with net.freeze('0')",
    "kernel_size": "there are no convolutions",
    "name": "layers are named by their place: '0', '1', '2.1'",
    "bias_regularizer": "penalties act on weights only",
    "activity_regularizer": "penalties act on weights only",
    "affine": "scale and shift are always trained; net.freeze('1') keeps them",
    "center": "scale and shift are always trained; net.freeze('1') keeps them",
    "track_running_stats": "running statistics are always kept",
    "axis": "rows are examples",
    "copy": "net.copy() makes a copy",
    **dict.fromkeys(_CALLED["inputs"].split(), _RIGHT_WIDTH),
    "inputs": _RIGHT_WIDTH,
    "foreach": "leave it out",
    "maximize": "leave it out, and give a loss to minimise",
    "save_best_only": "give callbacks=[dr.EarlyStopping()], then net.save(path)",
    "warmup": "a schedule: dr.WarmUp(100, dr.Cosine(1e-3))",
    "warmup_steps": "a schedule: dr.WarmUp(100, dr.Cosine(1e-3))",
    "pos_weight": "give class_weight={0: 1.0, 1: ...} when training",
    "class_weight": "it is an argument of dr.train and dr.Trainer",
    "max_norm": "give constraint=dr.MaxNorm(3.0)",
    "clipnorm": "give clip=dr.ClipNorm(1.0) when training",
    "clipvalue": "give clip=dr.ClipValue(0.5) when training",
    **dict.fromkeys(
        ("clip_norm", "grad_clip", "clip_grad_norm", "gradient_clip_norm", "grad_clip_norm"),
        "give clip=dr.ClipNorm(1.0) when training",
    ),
    "clip_value": "give clip=dr.ClipValue(0.5) when training",
    "weight": "give class_weight= or sample_weight= when training",
    "weights": "give class_weight= or sample_weight= when training",
    "steps_per_epoch": "an epoch is one pass over X, in steps of batch_size= rows",
    "baseline": "there is no baseline; min_delta= says what counts as better",
    "start_from_epoch": "there is none; raise patience",
    "max_grad_norm": "give clip=dr.ClipNorm(1.0) when training",
}  # fmt: skip

# Where a keyword exists but another thing is meant, by what is called.
_ADVICE_HERE: dict[tuple[str, str], str] = {
    **{
        (kind, "momentum"): "beta1 plays that part"
        for kind in ("Adam", "AdamW", "NAdam", "Adan", "Lion")
    },
    ("SGD", "weight_decay"): "give penalty=dr.L2(...) when training",
    ("Dense", "input_dim"): _RIGHT_WIDTH,
    ("ReduceOnPlateau", "cooldown"): "there is no cooldown; raise patience",
}

# What a required argument is, where its name alone does not say it.
_NEEDED: dict[str, str] = {
    "loss": "loss=, for instance 'squared_error' for numbers, 'cross_entropy' for classes",
    "inputs": "inputs=, the number of columns of X",
    "units": "units, the number of neurons",
    "layers": "a list of layers, such as [dr.Dense(8, 'relu'), dr.Dense(1)]",
    "network": "a deltarule.Network",
    "X": "X, the features (n, inputs)",
    "y": "y, the targets",
    "x": "x, the features (n, inputs)",
    "t": "t, the targets",
    "path": "a path or a binary file",
}

# What the methods and attributes of other libraries' objects are here.
ATTRIBUTES: dict[str, dict[str, str]] = {
    "Network": {
        "fit": "dr.train(net, X, y, loss=...) trains it",
        "train": "dr.train(net, X, y, loss=...) trains it; there are no modes",
        "eval": "there are no modes: net.predict(X) never drops units",
        "partial_fit": "dr.Trainer(net, loss=...).step(X, y) does one step",
        "train_on_batch": "dr.Trainer(net, loss=...).step(X, y) does one step",
        "compile": "loss and optimizer are arguments: dr.train(net, X, y, loss=..., optimizer=...)",
        "forward": "net.predict(X) runs it forward; dr.backpropagate(...) shows every array",
        "call": "net.predict(X) runs it forward",
        "backward": "dr.backpropagate(net, x, t, loss) returns every delta and gradient",
        "evaluate": "dr.evaluate(net, X, y, loss) measures it",
        "score": "dr.evaluate(net, X, y, loss, metrics=[...]) measures it",
        "predict_proba": "net.predict(X) returns probabilities after softmax or sigmoid",
        "predict_classes": "net.predict(X).argmax(axis=1) are the classes",
        "weights": "net.parameters['0.weight'] is an array; net.vector holds all of them",
        "bias": "net.parameters['0.bias'] is an array",
        "biases": "net.parameters['0.bias'] is an array",
        "coefs_": "net.parameters['0.weight'] is an array",
        "intercepts_": "net.parameters['0.bias'] is an array",
        "get_weights": "net.parameters is a mapping of arrays; net.vector holds all of them",
        "set_weights": "assign: net.parameters = {...} or net.vector = array",
        "load_weights": "dr.load(path) returns a network; net.parameters = other.parameters copies",
        "save_weights": "net.save(path) writes architecture and parameters",
        "state_dict": "net.parameters and net.state are mappings of arrays",
        "load_state_dict": "assign: net.parameters = {...}, net.state = {...}",
        "named_parameters": "net.parameters.items() are names and arrays",
        "trainable_variables": "net.parameters is a mapping of arrays",
        "trainable": "net.freeze('0') and net.unfreeze('0') decide what is trained",
        "requires_grad": "net.freeze('0') and net.unfreeze('0') decide what is trained",
        "grad": "dr.backpropagate(...).gradients are the gradients",
        "gradients": "dr.backpropagate(...).gradients are the gradients",
        "zero_grad": "leave it out: gradients are not kept",
        "add": "pass all layers at once: dr.Network([layer, layer], inputs=...)",
        "append": "pass all layers at once: dr.Network([layer, layer], inputs=...)",
        "build": "a network is complete when it is made",
        "reset": "net.initialize(seed) draws new parameters",
        "load": "dr.load(path) returns a network",
        "to": "net.copy(dtype='float64') converts it; there are no devices",
        "cpu": "leave it out: there are no devices",
        "cuda": "there are no devices",
        "double": "net.copy(dtype='float64') converts it",
        "float": "net.copy(dtype='float32') converts it",
        "clone": "net.copy() returns an independent copy",
        "lr": "the learning rate belongs to the optimizer: dr.Adam(learning_rate=...)",
        "optimizer": "the optimizer is an argument of dr.train and dr.Trainer",
        "loss": "the loss is an argument of dr.train, dr.Trainer and dr.evaluate",
        "history": "dr.train returns the history",
        "plot": "history.plot() draws the history that dr.train returns",
        "n_parameters": "len(net.vector) is the number of parameters",
        "count_params": "len(net.vector) is the number of parameters",
        "shape": "net.inputs and net.outputs are its widths",
    },
    "Trainer": {
        "fit": "trainer.run(X, y, epochs=...) trains the network",
        "train": "trainer.run(X, y, epochs=...) trains the network",
        "partial_fit": "trainer.step(X, y) does one step",
        "train_on_batch": "trainer.step(X, y) does one step",
        "predict": "trainer.network.predict(X) runs the network",
        "evaluate": "dr.evaluate(trainer.network, X, y, loss) measures it",
        "save": "trainer.network.save(path) writes the network",
        "net": "the network is trainer.network",
        "model": "the network is trainer.network",
        "history": "trainer.run returns the history",
        "zero_grad": "leave it out: gradients are not kept",
        "learning_rate": "it belongs to the optimizer; a schedule or a callback changes it",
        "lr": "the learning rate belongs to the optimizer; a schedule or a callback changes it",
    },
    "Trace": {
        "grads": "trace.gradients['0.weight'] is an array",
        "grad": "trace.gradients['0.weight'] is an array",
        "delta": "trace.deltas['0'] is an array",
        "z": "trace.preactivations['0'] is an array",
        "a": "trace.activations['0'] is an array",
        "x": "the features are trace.inputs",
        "X": "the features are trace.inputs",
        "t": "the targets are trace.targets",
        "y": "the targets are trace.targets",
        "outputs": "the last of trace.activations is the output",
    },
    "GradientCheck": {
        "passed": "check.ok says whether all agree",
        "failed": "check.ok says whether all agree",
        "error": "check.worst.relative_error is the largest error",
        "max_error": "check.worst.relative_error is the largest error",
        "relative_error": "check.worst.relative_error is the largest error",
    },
    "History": {
        "history": "it is the mapping itself: history['loss'] is a list",
        "epoch": "history.epochs is the number of epochs",
        "loss": "history['loss'] is a list",
        "val_loss": "history['val_loss'] is a list",
        "accuracy": "history['accuracy'] is a list",
        "params": "history.epochs, history.steps and history.seconds describe the run",
        "best_epoch": "an EarlyStopping object has best_epoch",
        "model": "dr.train trains the network in place; it is the object that you passed",
        "predict": "dr.train trains the network in place: net.predict(X)",
    },
    "deltarule": {
        "Sequential": "dr.Network([layer, layer], inputs=...) is a stack of layers",
        "Model": "dr.Network([layer, layer], inputs=...) is a stack of layers",
        "MLP": "dr.Network([layer, layer], inputs=...) is a stack of layers",
        "NeuralNetwork": "dr.Network([layer, layer], inputs=...) is a stack of layers",
        "MLPClassifier": "dr.Network([layer, layer], inputs=...) is a stack of layers",
        "fit": "dr.train(net, X, y, loss=...) trains a network",
        "predict": "net.predict(X) runs a network",
        "score": "dr.evaluate(net, X, y, loss, metrics=[...]) measures a network",
        "load_model": "dr.load(path) returns a network",
        "save_model": "dr.save(net, path) writes a network",
        "gradient_check": "dr.check_gradients(net, x, t, loss) compares with finite differences",
        "backprop": "dr.backpropagate(net, x, t, loss) returns every delta and gradient",
        "Input": "the number of columns is dr.Network(..., inputs=...)",
        "BatchNormalization": "it is dr.BatchNorm",
        "LayerNormalization": "it is dr.LayerNorm",
        "MSE": "the loss is dr.MeanSquaredError or 'mse'",
        "MSELoss": "the loss is dr.MeanSquaredError or 'mse'",
        "L1Loss": "the loss is dr.MeanAbsoluteError or 'mae'",
        "BCELoss": "the loss is dr.BinaryCrossEntropy or 'bce'",
        "CrossEntropyLoss": "the loss is dr.CrossEntropy or 'cross_entropy'",
        "ReduceLROnPlateau": "it is dr.ReduceOnPlateau",
        "Momentum": "it is dr.SGD(0.1, momentum=0.9)",
        "Adamax": "the nearest is dr.Adam",
        "seed": "seeds are arguments: dr.Network(..., seed=0), dr.train(..., seed=0)",
        "ReLU": "activations go by name: dr.Dense(8, 'relu'); the class is dr.activations.ReLU",
        "Sigmoid": "activations go by name: dr.Dense(8, 'sigmoid')",
        "Softmax": "activations go by name: dr.Dense(8, 'softmax')",
        "Tanh": "activations go by name: dr.Dense(8, 'tanh')",
        "Conv2D": "there are no convolutions",
        "LSTM": "there are no recurrent layers",
    },
}  # fmt: skip

# ----------------------------------------------------------------------------------- how they help


def helpful(target: _T) -> _T:
    """Let a function, or the public methods of a class, answer a wrong call with the right one.

    A call that does not fit the signature raises an InvalidTypeError that names the right keyword.
    Nothing else changes: what runs, runs as it did, and so do ``inspect`` and type checkers.
    """
    if isinstance(target, type):
        if issubclass(target, tuple):
            target.__new__ = watched(target.__new__)  # type: ignore[method-assign]
            return target
        for name, value in list(vars(target).items()):
            if inspect.isfunction(value) and (name == "__init__" or not name.startswith("_")):
                if not hasattr(value, "__wrapped__") and not hasattr(value, "__signature__"):
                    setattr(target, name, watched(value))
            elif isinstance(value, classmethod) and not name.startswith("_"):
                setattr(target, name, classmethod(watched(value.__func__)))
        return target
    return watched(target, method=False)  # type: ignore[arg-type]


def watched(function: Callable[..., Any], *, method: bool = True) -> Any:
    """Return a function that answers a wrong call with the right one; see :func:`helpful`."""
    answer = wrong_call

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except TypeError as error:
            # No frame below this one: the arguments did not fit.
            if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                raise
            problem = answer(function, args, kwargs, method=method) or error
        raise problem from None

    if not function.__globals__.get("__builtins__"):  # made by namedtuple
        return update_wrapper(call, function)
    # With the globals of the function's module, doctest and others know where it comes from.
    made = FunctionType(
        call.__code__, function.__globals__, function.__name__, None, call.__closure__
    )
    return update_wrapper(made, function)


def watches_itself(function: _T) -> _T:
    """Hide ``*more`` and ``**wrong`` of a method so fast that a call around it would cost.

    It passes them to :func:`wrong_call` itself.
    """
    signature = inspect.signature(function)  # type: ignore[arg-type]
    public = [
        p for p in signature.parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    function.__signature__ = signature.replace(parameters=public)  # type: ignore[attr-defined]
    return function


def wrong_call(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    method: bool = True,
) -> InvalidTypeError | None:
    """Return the error for arguments that do not fit a signature; None where they fit."""
    parameters = dict(inspect.signature(function).parameters)
    own = next(iter(parameters), None) if method else None
    known = [
        name
        for name, p in parameters.items()
        if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and name != own
    ]
    kind = _kind(function, args) if method else ""
    made = function.__name__ in ("__init__", "__new__")
    called = kind if made else f"{function.__name__}()"
    if kind and called != kind:
        called = f"{kind}.{called}"
    what = "setting" if made else "argument"
    star = next((name for name, p in parameters.items() if p.kind is p.VAR_POSITIONAL), None)
    if star is not None and kwargs.keys() - set(known):
        name = next(name for name in kwargs if name not in known)
        return InvalidTypeError(
            f"{called} has no {what} {name!r}; give {star} by position: "
            f"{', '.join([*known, repr('0'), repr('1.bias')])}"
        )
    for name in kwargs:
        if name not in known:
            return InvalidTypeError(
                f"{called} has no {what} {name!r}; {_instead(kind, name, known, kwargs)}"
            )
    positional = [
        name for name in known if parameters[name].kind is not parameters[name].KEYWORD_ONLY
    ]
    given = len(args) - method
    if given > len(positional):
        named = [f"{name}=" for name in known if name not in positional]
        rest = f"; give the others by name: {', '.join(named)}" if named else ""
        return InvalidTypeError(
            f"{called} takes {len(positional)} argument{'s' * (len(positional) != 1)} by position "
            f"({', '.join(positional)}), got {given}{rest}"
        )
    for name in positional[:given]:
        if name in kwargs:
            return InvalidTypeError(f"{called} got {name!r} twice, by position and by name")
    missing = [
        name
        for name in known
        if parameters[name].default is inspect.Parameter.empty
        and name not in kwargs
        and name not in positional[:given]
    ]
    if missing:
        needed = " and ".join(_NEEDED.get(name, name) for name in missing)
        return InvalidTypeError(f"{called} needs {needed}")
    return None


def _kind(function: Callable[..., Any], args: tuple[Any, ...]) -> str:
    if not args:
        return function.__qualname__.rpartition(".")[0]
    owner = args[0] if isinstance(args[0], type) else type(args[0])
    return owner.__name__


def _instead(kind: str, name: str, known: list[str], given: Mapping[str, Any]) -> str:
    """Return what to write instead of a keyword that is not known."""
    here = _ADVICE_HERE.get((kind, name))
    if here is not None:
        return here
    others = _by_other_name()
    for ours in (*others.get(name, ()), *others.get(name.lower(), ())):
        if ours in known and ours != name:
            return f"it is called {ours}" + (", which is given too" if ours in given else "")
    if name in _ADVICE:
        return _ADVICE[name]
    near = nearest(name, known)
    if near is not None:
        return f"did you mean {near!r}?"
    return f"it takes {', '.join(known)}" if known else "it takes none"


def missing_attribute(kind: str, name: str, known: Iterable[str]) -> AttributeError:
    """Return the error for an attribute that an object, or the package, does not have."""
    if name.startswith("_"):  # asked for by protocols, thousands of times
        return AttributeError(f"{kind} has no attribute {name!r}")
    hint = ATTRIBUTES.get(kind, {}).get(name)
    if hint is None:
        near = nearest(name, known)
        hint = f"did you mean {near!r}?" if near else f"it has {', '.join(known)}"
    return InvalidAttributeError(f"{kind} has no attribute {name!r}; {hint}")


class Leading:
    """Base of objects that answer a missing attribute with the one that is meant."""

    if not TYPE_CHECKING:  # type checkers should go on to find attributes that do not exist

        def __getattr__(self, name: str) -> Any:
            kinds = [kind.__name__ for kind in type(self).__mro__ if kind.__name__ in ATTRIBUTES]
            public = [known for known in dir(self) if not known.startswith("_")]
            if name in public:  # a property whose own work raised an AttributeError
                raise AttributeError(f"{type(self).__name__}.{name} cannot be read now")
            raise missing_attribute((*kinds, type(self).__name__)[0], name, public)
