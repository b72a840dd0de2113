"""The command line: what it prints, and how it fails."""

import json
import os
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import deltarule as dr
from deltarule.bench import floor, forms, machine
from deltarule.bench.measuring import Budget
from deltarule.cli import app

runner = CliRunner()


def run(*arguments):
    return runner.invoke(app, [str(argument) for argument in arguments])


def failed_in_one_line(result, code):
    assert result.exit_code == code
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.output
    return result.stderr.strip()


def test_the_version_is_the_librarys():
    result = run("--version")
    assert (result.exit_code, result.stdout.strip()) == (0, f"deltarule {dr.__version__}")


def test_engines_lists_each_engine_with_its_state():
    result = run("engines")
    assert result.exit_code == 0
    for name in dr.engines():
        assert name in result.stdout


@pytest.mark.parametrize("command", ["demo", "trace", "check", "bench", "engines"])
def test_every_command_explains_itself(command):
    assert run(command, "--help").exit_code == 0
    assert command in run("--help").stdout


def test_without_a_command_there_is_help():
    assert "Usage" in run().output


def test_an_unknown_option_is_a_usage_error():
    result = run("trace", "--colour")
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_as_a_process_it_prints_and_leaves_with_the_status():
    good = subprocess.run(
        [sys.executable, "-m", "deltarule", "trace", "specification"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=utf8(),
        timeout=250,
        check=False,
    )
    assert good.returncode == 0, good.stderr
    assert "-0.111424" in good.stdout
    bad = subprocess.run(
        [sys.executable, "-m", "deltarule", "check", "--layers", "dens:3"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=utf8(),
        timeout=250,
        check=False,
    )
    assert bad.returncode == 2
    assert bad.stderr.strip().count("\n") == 0
    assert "did you mean 'dense'" in bad.stderr


def utf8():
    return os.environ | {"PYTHONIOENCODING": "utf-8"}


def test_without_its_extra_one_line_names_the_libraries():
    code = (
        "import sys; sys.modules['typer'] = None\n"
        "from deltarule.__main__ import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 1
    assert "pip install typer rich" in done.stderr
    assert done.stderr.strip().count("\n") == 0


def test_ctrl_c_ends_a_command_with_one_line_and_the_shells_status(monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("deltarule.published.specification", interrupted)
    assert "interrupted" in failed_in_one_line(run("trace"), 130)


def test_errors_of_the_library_and_the_system_are_one_line(monkeypatch):
    for error in (dr.InvalidValueError("no\ngood"), PermissionError(13, "denied", "x")):

        def refuse(error=error):
            raise error

        monkeypatch.setattr("deltarule.published.specification", refuse)
        said = failed_in_one_line(run("trace"), 1)
        assert said.startswith("deltarule: ")


def test_a_console_without_greek_letters_is_no_obstacle():
    done = subprocess.run(
        [sys.executable, "-m", "deltarule", "trace"],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# check


def test_check_prints_the_table_and_succeeds_on_right_gradients():
    result = run(
        "check",
        "--inputs",
        5,
        "--layers",
        "dense:8:tanh, batch_norm, dense:3:softmax",
        "--loss",
        "cross_entropy",
        "--penalty",
        "l2:0.01",
        "--rows",
        7,
        "--every-coordinate",
    )
    assert result.exit_code == 0, result.output
    for name in ("0.weight", "0.bias", "1.scale", "1.shift", "2.weight", "2.bias"):
        assert name in result.stdout
    assert "all gradients agree" in result.stdout


@pytest.mark.parametrize(
    ("layers", "loss"),
    [
        ("dense:4:gelu, dropout:0.3, dense:2", "huber:0.5"),
        (
            "dense:6, residual(layer_norm, activation:silu, dense:6), dense:2:sigmoid",
            "binary_cross_entropy",
        ),
        ("dense:3:softplus:bias=false, dense:2:exp", "poisson"),
        ("residual(dense:4:tanh, residual(dense:4)), dense:1", "quantile:q=0.3"),
    ],
)
def test_check_makes_data_that_fit_each_loss(layers, loss):
    result = run("check", "--layers", layers, "--loss", loss)
    assert result.exit_code == 0, result.output


def test_check_fails_when_a_formula_is_broken(monkeypatch):
    monkeypatch.setattr(dr.activations.Tanh, "derivative", lambda self, z, a: 1 - a, raising=True)
    result = run("check")
    assert result.exit_code == 1
    assert "the gradient of" in result.stdout
    assert "is wrong" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--layers", "dens:3"], "did you mean 'dense'"),
        (["--layers", "dense:3:tahn"], "did you mean 'tanh'"),
        (["--layers", "dense:three"], "'dense:three': units must be a whole number >= 1"),
        (["--layers", "dense"], "does not say its units"),
        (["--layers", "dense:3:tanh:5"], "too many settings; expected dense:UNITS:ACTIVATION"),
        (["--layers", "dense:3:bia=no"], "did you mean 'bias'"),
        (["--layers", "dense:3:units=4"], "gives units twice"),
        (["--layers", "dense:3,,dense:1"], "empty layer"),
        (["--layers", ""], "empty layer"),
        (["--layers", "residual(dense:3"], "does not close"),
        (["--layers", "dense:3)"], "closes a bracket that is not open"),
        (["--layers", "residual:3"], "layers in brackets"),
        (["--layers", "dropout:1.5, dense:3:softmax"], "rate must be"),
        (["--loss", "cross_entopy"], "did you mean 'cross_entropy'"),
        (["--loss", "poisson"], "end the network with"),
        (["--penalty", "l2:-1"], "strength must be"),
        (["--rows", "0"], "rows must be a whole number >= 1"),
        (["--inputs", "0"], "inputs must be"),
        (["--tolerance", "-1"], "tolerance must be"),
        (["--seed", "-1"], "seed must be"),
    ],
)  # fmt: skip
def test_check_answers_a_wrong_description_in_one_line(arguments, says):
    assert says in failed_in_one_line(run("check", *arguments), 2)


# bench


def test_bench_prints_its_table_and_writes_its_samples(monkeypatch, tmp_path):
    quick = Budget(turn=1e-3, total=0, rounds=2, least=2)
    tiny = forms.Form("tiny", quick, quick, None, None, None, 0.01, {}, False, 60)
    monkeypatch.setattr(forms, "SHORT_FORM", tiny)
    monkeypatch.setattr(machine, "_used", set())
    monkeypatch.setattr(floor, "_SIZES", (64,))
    path = tmp_path / "bench.json"
    chosen = ("--workloads", "W1", "--peers", "reference", "--threads", 1)
    result = run("bench", *chosen, "--json", path)
    assert result.exit_code == 0, result.output
    assert "W1 " in result.stdout
    assert "measuring W1" in result.stderr
    (comparison,) = json.loads(path.read_text())["comparisons"]
    for name in ("deltarule", "reference"):
        assert len(comparison["entries"][name]["samples"]) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--workloads", "W9"], "unknown workload 'W9'; did you mean 'W'? known: N, N1"),
        (["--workloads", "W1,"], "unknown workload ''"),
        (["--peers", "torhc"], "did you mean 'torch'"),
        (["--threads", "0"], "threads must be a whole number >= 1"),
        (["--json", "no-such-folder/x.json"], "no-such-folder"),
    ],
)
def test_bench_answers_a_wrong_wish_in_one_line(arguments, says):
    assert says in failed_in_one_line(run("bench", *arguments), 1)


# trace


def printed_numbers(text):
    return set(re.findall(r"-?\d*\.\d+", text))


def shows(text, value):
    """Whether some printed number begins with the digits of value, or rounds to them."""
    digits = len(value.rpartition(".")[2])
    return any(
        abs(float(number) - float(value)) <= 0.5000001 * 10.0**-digits
        and len(number.rpartition(".")[2]) >= min(digits, 6)
        for number in printed_numbers(text)
    )


SPECIFICATION = [
    ".524979",
    ".574443",
    ".549834",
    ".101325",
    ".249376",
    ".244458",
    ".247517",
    "-.111424",
    "-.011115",
    "-.016343",
    "-.058495",
    "-.064006",
    "-.005557",
    "-.008892",
    "-.008172",
    "-.013074",
]

MAZUR = [
    ".593269992107",
    ".596884378260",
    "1.105905967060",
    "1.224921404096",
    ".751365069552",
    ".772928465321",
    ".274811083176",
    ".023560025584",
    ".298371108760",
    ".138498561629",
    "-.038098236517",
    ".036350306393",
    ".041370322649",
    ".008771354689",
    ".009954254705",
    ".000438567734",
    ".000877135469",
    ".000497712735",
    ".000995425471",
    ".082167040564",
    ".082667627848",
    "-.022602540477",
    "-.022740242216",
    ".149780716",
    ".19956143",
    ".24975114",
    ".29950229",
    ".35891648",
    ".408666186",
    ".511301270",
    ".561370121",
    ".291027773694",
    ".0000351018778",
    ".015913620",
    ".984064274",
    ".291027923905",
    ".000035084786",
]


def test_trace_prints_the_specifications_numbers():
    text = run("trace", "specification").stdout
    missing = [value for value in SPECIFICATION if value.lstrip("-") not in text]
    assert not missing
    assert "z[0] = x @ W[0] + b[0] = [[0.1 0.3]]" in text
    assert "z[1] = a[0] @ W[1] + b[1] = [[0.2]]" in text


def test_trace_says_where_the_specifications_text_is_off():
    rows = [line for line in run("trace", "specification").stdout.splitlines() if "│" in line]
    off = [re.split(r"\s*│\s*", row)[1:4] for row in rows if re.search(r"\boff +│$", row)]
    assert off == [
        ["L", "0.102", "0.101325"],
        ["a_o - y", "-0.451", "-0.450166"],
        ["sigma'(z_h)[1]", "0.247", "0.249376"],
        ["sigma'(z_h)[2]", "0.241", "0.244458"],
    ]


def test_trace_prints_mazurs_numbers_to_the_last_digit():
    text = run("trace", "mazur").stdout
    assert not [value for value in MAZUR if not shows(text, value)]
    assert "0.3775" in text
    assert "0.3925" in text


def test_trace_prints_both_examples_by_default():
    text = run("trace").stdout
    assert "2-2-1" in text
    assert "2-2-2" in text


def test_an_unknown_example_is_a_usage_error():
    assert run("trace", "mazurr").exit_code == 2


def test_the_examples_preactivations_are_exactly_those_of_the_text():
    from deltarule.published import specification

    trace = specification().trace()
    assert trace.preactivations["0"].tolist() == [[0.1, 0.3]]
    assert trace.preactivations["1"].tolist() == [[0.2]]


def test_mazur_with_a_bias_of_its_own_for_each_neuron_also_trained():
    from deltarule.published import mazur, mazur_error

    example = mazur()
    example.network.unfreeze("0", "1")
    dr.Trainer(example.network, dr.SquaredError(), dr.SGD(0.5)).step(example.x, example.t)
    assert mazur_error(example) == pytest.approx(0.28047144679, abs=5e-12)
    biases = [*example.network.parameters["0.bias"], *example.network.parameters["1.bias"]]
    assert biases == pytest.approx([0.345614323, 0.345022873, 0.530750719, 0.619049118], abs=5e-10)
