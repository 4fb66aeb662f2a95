import gzip
from pathlib import Path

from components.corpus.parsers.man import page_text, read

PAGE = r""".\" a comment
.TH accept 2 2022-12-04 "Linux man-pages"
.SH NAME
accept \- take a \fIconnection\fP
.SH SYNOPSIS
.nf
.BI "int accept(int " sockfd ", int \
flags);"
.fi
.SH DESCRIPTION
The
.BR accept ()
call waits.
It returns \(aqone\(aq and C:\en.
.PP
Second paragraph.
.TS
l l.
T{
table
T}
.TE
.IP \(bu 3
item
"""


def test_page_becomes_text() -> None:
    assert page_text(PAGE) == (
        "NAME\n\naccept - take a connection\n\nSYNOPSIS\n\n"
        "int accept(int sockfd, int flags);\n\nDESCRIPTION\n\n"
        "The accept() call waits. It returns 'one' and C:\\n.\n\nSecond paragraph.\n\n* item"
    )


def test_links_and_other_macros_are_left_out() -> None:
    assert page_text(".so man2/accept.2\n") == ""
    assert page_text(".Dd January 1\n.Dt X 1\ntext") == ""


def test_pages_are_read_packed(tmp_path: Path) -> None:
    path = tmp_path / "accept.2.gz"
    path.write_bytes(gzip.compress(PAGE.encode()))
    (page,) = read(tmp_path, [path], 0)
    assert page.title == "accept"
