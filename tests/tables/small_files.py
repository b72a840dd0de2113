"""Small files as people have them, one quirk each, and the table that each of them means."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Case(NamedTuple):
    content: bytes
    table: dict[str, list]
    found: Mapping[str, object] = MappingProxyType({})  # of the dialect
    dropped: int = 0


def people(separator=",", end="\n", decimal="."):
    """Three rows of text and numbers, as bytes."""
    lines = [("name", "age", "size"), ("Ann", "31", "1.5"), ("Bob", "45", "2.25"), ("Cy", "9", "3")]
    text = end.join(separator.join(line) for line in lines) + end
    return text.replace(".", decimal).encode()


PEOPLE = {"name": ["Ann", "Bob", "Cy"], "age": [31, 45, 9], "size": [1.5, 2.25, 3.0]}
LETTERS = {"a": [1, 2, 3], "b": [4, 5, 6]}


def zipped(content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("people.csv", content)
    return file.getvalue()


CASES = {
    # ------------------------------------------------------------ separators and ends of lines
    "comma": Case(people(), PEOPLE, {"separator": ","}),
    "semicolon": Case(people(";"), PEOPLE, {"separator": ";"}),
    "tab": Case(people("\t"), PEOPLE, {"separator": "\t"}),
    "bar": Case(people("|"), PEOPLE, {"separator": "|"}),
    "one space": Case(people(" "), PEOPLE, {"separator": " "}),
    "columns filled with spaces": Case(
        b"name    age  size\nAnn      31   1.5\nBob      45  2.25\nCy        9     3\n",
        PEOPLE,
        {"separator": " "},
    ),
    "space behind the comma": Case(people(", "), PEOPLE, {"separator": ","}),
    "CR LF": Case(people(end="\r\n"), PEOPLE),
    "CR alone": Case(people(end="\r"), PEOPLE),
    "no newline at the end": Case(people().rstrip(b"\n"), PEOPLE),
    "blank lines": Case(people().replace(b"\n", b"\n\n"), PEOPLE),
    "blank lines first and last": Case(b"\n\n" + people() + b"\n\n", PEOPLE),
    "a separator ends each line": Case(people().replace(b"\n", b",\n"), PEOPLE),
    "one column": Case(b"a\n1\n2\n3\n", {"a": [1, 2, 3]}),
    # ---------------------------------------------------------------------------------- quotes
    "all fields in quotes": Case(b'"a","b"\n"1","4"\n"2","5"\n"3","6"\n', LETTERS),
    "a separator in quotes": Case(b'a,b\n"x, y",1\nz,2\n', {"a": ["x, y", "z"], "b": [1, 2]}),
    "a new line in quotes": Case(b'a,b\n"x\ny",1\nz,2\n', {"a": ["x\ny", "z"], "b": [1, 2]}),
    "a doubled quote": Case(b'a,b\n"5"" disk",1\nz,2\n', {"a": ['5" disk', "z"], "b": [1, 2]}),
    "an escaped quote": Case(
        b'a,b\n"5\\" disk",1\n"say \\"no\\"",2\n',
        {"a": ['5" disk', 'say "no"'], "b": [1, 2]},
        {"escape": "\\"},
    ),
    "single quotes": Case(
        b"a,b\n'x, y',1\n'z',2\n'u, v',3\n",
        {"a": ["x, y", "z", "u, v"], "b": [1, 2, 3]},
        {"quote": "'"},
    ),
    "an apostrophe is no quote": Case(
        b"a,b\nO'Neil,1\nD'Arcy,2\n'tis,3\n", {"a": ["O'Neil", "D'Arcy", "'tis"], "b": [1, 2, 3]}
    ),
    "inches are no quotes": Case(b'a,b\n15",1\n17",2\n', {"a": ['15"', '17"'], "b": [1, 2]}),
    "an empty field in quotes": Case(b'a,b\n"",1\nx,2\n', {"a": [None, "x"], "b": [1, 2]}),
    # ------------------------------------------------------------------------------- encodings
    "UTF-8 with a byte order mark": Case(b"\xef\xbb\xbf" + people(), PEOPLE, {"encoding": "utf-8"}),
    "UTF-16 of little end": Case(people().decode().encode("utf-16"), PEOPLE),
    "UTF-16 of big end": Case(b"\xfe\xff" + people().decode().encode("utf-16-be"), PEOPLE),
    "UTF-32": Case(people().decode().encode("utf-32"), PEOPLE),
    "Latin-1": Case(
        "a,b\nMünchen,1\nKöln,2\n".encode("latin-1"), {"a": ["München", "Köln"], "b": [1, 2]}
    ),
    "Windows-1252": Case(
        "a,b\n5 €,1\n“no”,2\n".encode("cp1252"), {"a": ["5 €", "“no”"], "b": [1, 2]}
    ),
    "names and text beyond ASCII": Case(
        "城市,人口\n東京,14\n大阪,9\n".encode(), {"城市": ["東京", "大阪"], "人口": [14, 9]}
    ),
    # --------------------------------------------------------------------------------- numbers
    "decimal comma": Case(people(";", decimal=","), PEOPLE, {"separator": ";", "decimal": ","}),
    "decimal comma in quotes": Case(
        b'a,b\n"1,5",x\n"2,25",y\n"3,5",z\n',
        {"a": [1.5, 2.25, 3.5], "b": ["x", "y", "z"]},
        {"decimal": ","},
    ),
    "thousands and decimals": Case(
        b'a,b\n"1,234.5",x\n"22,000.25",y\n', {"a": ["1,234.5", "22,000.25"], "b": ["x", "y"]}
    ),
    "exponents": Case(b"a,b\n1e3,x\n-2.5E-2,y\n", {"a": [1000.0, -0.025], "b": ["x", "y"]}),
    "signs and points": Case(
        b"a,b\n+1,x\n.5,y\n-2.,z\n", {"a": [1.0, 0.5, -2.0], "b": ["x", "y", "z"]}
    ),
    "leading zeros are a code": Case(
        b"zip,b\n01234,1\n00501,2\n", {"zip": ["01234", "00501"], "b": [1, 2]}
    ),
    "more digits than a float has": Case(
        b"id,b\n12345678901234567,1\n12345678901234568,2\n",
        {"id": [12345678901234567, 12345678901234568], "b": [1, 2]},
    ),
    "infinity": Case(
        b"a,b\n1.5,x\ninf,y\n-inf,z\n",
        {"a": [1.5, float("inf"), float("-inf")], "b": ["x", "y", "z"]},
    ),
    # --------------------------------------------------------------------------------- missing
    "empty cells": Case(b"a,b\n1,\n,5\n3,6\n", {"a": [1, None, 3], "b": [None, 5, 6]}),
    "words for missing numbers": Case(
        b"a,b\n1,4\nNA,5\n3,-\n4,?\n5,8\n",
        {"a": [1, None, 3, 4, 5], "b": [4, 5, None, None, 8]},
    ),
    "NA is an answer among words": Case(
        b"a,b\nNA,1\nyes,2\nno,3\n", {"a": ["NA", "yes", "no"], "b": [1, 2, 3]}
    ),
    # ------------------------------------------------------------------- above, below, between
    "comments above": Case(b"# from a probe\n# in May\n" + people(), PEOPLE, {"comment": "#"}),
    "comments between": Case(b"# by hand\na,b\n1,4\n# gap\n2,5\n3,6\n", LETTERS, {"comment": "#"}),
    "a remark between": Case(b"a,b\n1,4\n# gap\n2,5\n3,6\n", LETTERS, dropped=1),
    "a title above": Case(b"Our people, 2019\n\n" + people(), PEOPLE, {"skipped": 2}),
    "a title with a comma, close above": Case(
        b"People, by age\n" + people(), PEOPLE, {"skipped": 1}
    ),
    "a header without a name for its row names": Case(
        b"a b\nx 1 4\ny 2 5\nz 3 6\n", {"0": ["x", "y", "z"], **LETTERS}, {"separator": " "}
    ),
    "row names without a name, and one column": Case(
        b'"","x"\n"A",13.5\n"B",40\n"C",2\n', {"0": ["A", "B", "C"], "x": [13.5, 40.0, 2.0]}
    ),
    "a title over the second of two columns": Case(
        b",Our people\nname,age\nAnn,31\nBob,45\n", {"name": ["Ann", "Bob"], "age": [31, 45]}
    ),
    "bounds as names": Case(
        b',"16.5","16.75","17.25","18"\n"a",0,1,1,7\n"b",3,2,0,0\n"c",1,1,2,0\n',
        {
            "0": ["a", "b", "c"],
            "16.5": [0, 3, 1],
            "16.75": [1, 2, 1],
            "17.25": [1, 0, 2],
            "18": [7, 0, 0],
        },
        {"header": 1},
    ),
    "the same with nothing but words": Case(
        b"color,shape\nx,red,round\ny,blue,round\nz,red,flat\n",
        {
            "0": ["x", "y", "z"],
            "color": ["red", "blue", "red"],
            "shape": ["round", "round", "flat"],
        },
    ),
    "years that are values": Case(
        b"A,1999,2000\nB,1998,2001\nC,1997,2003\n",
        {"0": ["A", "B", "C"], "1": [1999, 1998, 1997], "2": [2000, 2001, 2003]},
        {"header": None},
    ),
    "names above names": Case(
        b"city,size,,price,\n,m,feet,new,old\nA,1,3,5,7\nB,2,6,6,8\n",
        {
            "city": ["A", "B"],
            "size m": [1, 2],
            "size feet": [3, 6],
            "price new": [5, 6],
            "price old": [7, 8],
        },
        {"units": True},
    ),
    "notes above, of several lines": Case(
        b"Report\nMade by the office\n\n" + people(";"), PEOPLE, {"separator": ";"}
    ),
    "a line of units below the header": Case(
        b"time,speed\ns,m/s\n0,1.5\n1,2.5\n2,3.5\n",
        {"time": [0, 1, 2], "speed": [1.5, 2.5, 3.5]},
        {"units": True},
    ),
    "the header again below": Case(b"a,b\n1,4\n2,5\na,b\n3,6\n", LETTERS, dropped=1),
    "the header again, with a name that means missing": Case(
        b"size,Na\n1,4\n2,5\nsize,Na\n3,6\n", {"size": [1, 2, 3], "Na": [4, 5, 6]}, dropped=1
    ),
    "a note below": Case(b"a,b\n1,4\n2,5\n3,6\n\nSource: the office\n", LETTERS, dropped=1),
    "a rule between header and rows": Case(
        b"a|b\n---|---\n1|4\n2|5\n3|6\n", LETTERS, {"separator": "|"}
    ),
    "a table of Markdown": Case(
        b"| a | b |\n|---|---|\n| 1 | 4 |\n| 2 | 5 |\n| 3 | 6 |\n", LETTERS, {"separator": "|"}
    ),
    # ---------------------------------------------------------------------------- names, index
    "no header": Case(b"1,4\n2,5\n3,6\n", {"0": [1, 2, 3], "1": [4, 5, 6]}, {"header": None}),
    "no header, words and numbers": Case(
        b"5.1,3.5,setosa\n4.9,3.0,setosa\n6.3,3.3,virginica\n",
        {"0": [5.1, 4.9, 6.3], "1": [3.5, 3.0, 3.3], "2": ["setosa", "setosa", "virginica"]},
        {"header": None},
    ),
    "years as names": Case(
        b"country,2019,2020\nA,1.5,2.5\nB,3.5,4.5\n",
        {"country": ["A", "B"], "2019": [1.5, 3.5], "2020": [2.5, 4.5]},
        {"header": 1},
    ),
    "a name twice": Case(b"a,b,a\n1,4,7\n2,5,8\n", {"a": [1, 2], "b": [4, 5], "a.2": [7, 8]}),
    "spaces around names": Case(b" a , b\n1,4\n2,5\n3,6\n", LETTERS),
    "an index without a name": Case(b",a,b\n0,1,4\n1,2,5\n2,3,6\n", LETTERS, {"index": ""}),
    "an index beyond the header": Case(b"a,b\n0,1,4\n1,2,5\n2,3,6\n", LETTERS),
    "empty columns": Case(b"a,,b,\n1,,4,\n2,,5,\n3,,6,\n", LETTERS),
    # ---------------------------------------------------------------------------- ragged lines
    "a short line": Case(
        b"a,b,c\n1,4,7\n2,5\n3,6,9\n", {"a": [1, 2, 3], "b": [4, 5, 6], "c": [7, None, 9]}
    ),
    "a line of one field is none": Case(b"a,b\n1,4\n2,5\n8\n3,6\n", LETTERS, dropped=1),
    "a long line": Case(b"a,b\n1,4\n2,5\n8,8,8\n3,6\n", LETTERS, dropped=1),
    "a line that ends with separators": Case(b"a,b\n1,4\n2,5,,\n3,6\n", LETTERS),
    # --------------------------------------------------------------------------------- packing
    "gzip": Case(gzip.compress(people()), PEOPLE, {"compression": "gzip"}),
    "bzip2": Case(bz2.compress(people()), PEOPLE, {"compression": "bz2"}),
    "xz": Case(lzma.compress(people()), PEOPLE, {"compression": "xz"}),
    "zip": Case(zipped(people()), PEOPLE, {"compression": "zip"}),
    # --------------------------------------------------------------------------- other formats
    "JSON lines": Case(
        b'{"a": 1, "b": 4}\n{"a": 2, "b": 5}\n{"b": 6, "a": 3}\n', LETTERS, {"format": "json"}
    ),
}
