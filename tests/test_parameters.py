"""Parameters of notebooks: types, names that papermill adds, cells that are run again."""

import runpy

import pandas as pd
import pytest

from alexlib.notebook import as_html, as_text

CELL = """scale: str = "sample"  # of the images
epochs: int = 3  # passes
pictures: bool = True  # show them
fields: dict = {"lr": 0.1}  # of the config
options: dict = {}  # others"""
CALL = """from alexlib.notebook import parameters

options = parameters(globals(), device="auto", share=0.5, data="")"""


def run(names, *cells):
    for cell in cells:
        names.setdefault("In", [""]).append(cell)
        exec(cell, names)
    return names


def given(*lines):
    """What a notebook has after its call of `parameters`, if papermill sets these."""
    return run({}, CELL, "\n".join(["# Parameters", *lines, ""]), CALL)


@pytest.mark.parametrize(
    ("line", "expected"),
    [('pictures = "false"', False), ('pictures = "False"', False), ("pictures = False", False),
     ('epochs = "7"', 7), ('scale = "7"', "7"), ('fields = \'{"lr": 1}\'', {"lr": 1}),
     ('fields = "{\'flip\': \'false\'}"', {"flip": False})],
)  # fmt: skip
def test_text_becomes_a_value_where_no_text_is_expected(line, expected):
    assert given(line)[line.split()[0]] == expected


def test_options_and_fields_of_the_config_can_be_given_as_parameters():
    names = given('data = "7"', "share = 1", 'precision = "fp32"', 'PAPERMILL_INPUT_PATH = "x"')
    assert names["options"] == {"device": "auto", "share": 1, "data": "7"}
    assert names["fields"] == {"lr": 0.1, "precision": "fp32"}
    assert given("options = {'data': 'a'}", "batch = 16")["options"]["data"] == "a"


@pytest.mark.parametrize(
    ("line", "message"),
    [('devcie = "cpu"', "'devcie'.*did you mean 'device'"), ("batsch = 1", "mean 'batch'"),
     ("options = {'dta': 1}", "mean 'data'"), ("fields = {'epochs': 1}", "'epochs'"),
     ("classes = 7", "'classes'"), ('pictures = "no"', "pictures = 'no': expected True or False"),
     ("pictures = 0", "pictures = 0"), ("epochs = 3.5", "epochs = 3.5: expected a whole number"),
     ("epochs = True", "epochs"), ("data = 7", "data = 7: expected text")],
)  # fmt: skip
def test_what_does_not_fit_is_an_error_that_names_it(line, message):
    with pytest.raises(ValueError, match=message):
        given(line)


def test_a_cell_that_is_run_again_gives_the_same_and_can_be_edited():
    names = given('device = "cpu"', 'data = "a"')
    first = names["options"]
    later = 'device = "cpu:0"\nbatch = devcie = 7\ndata = [1]'
    assert run(names, later, CALL)["options"] == first and names["fields"] == {"lr": 0.1}
    assert run(names, CALL.replace("0.5", "0.75"))["options"]["share"] == 0.75
    names["In"].append("%magic")
    run(names, CELL.replace("{}", '{"share": 0.25}'), "x: list[int] = []", CALL)
    assert names["options"]["share"] == 0.25


def test_a_notebook_as_a_script(tmp_path):
    (tmp_path / "a.py").write_text(f"{CELL}\n{CALL}\n")
    assert runpy.run_path(tmp_path / "a.py")["options"]["device"] == "auto"


def test_a_table_as_text_has_its_numbers_as_they_are_shown():
    table = pd.DataFrame({"name": ["a|b", "c"], "error, %": [1.234, None]})
    expected = "| name | error, % |\n| ---- | -------- |\n| a\\|b | 1.2      |\n| c    | -        |"
    assert as_text(table.style.hide().format(precision=1, na_rep="-")) == expected
    wide = pd.DataFrame({"v": ["a", "a"], "s": [0, 1], "x": [1, 2], "y": [3, 4]})
    wide = wide.pivot(index="v", columns="s", values=["x", "y"])
    assert as_text(wide.style).splitlines()[0] == "|   | x | x | y | y |"
    assert as_text(pd.DataFrame().style.hide()) == "|  |"


def test_text_is_at_the_left_of_its_column_and_numbers_at_the_right():
    columns = {"name": ["a", "b"], "n": [1, 2], "mixed": [None, "c"], "ends": ["-", "1 to 2"]}
    table = pd.DataFrame(columns)
    css, _, cells = as_html(table.style).partition("</style>")
    assert [f".col{i} {{" in css for i in range(4)] == [True, False, True, False]
    assert "text-align: left" in css and "text-align" not in cells
    assert as_html(pd.DataFrame().style)
