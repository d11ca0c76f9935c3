"""Counts of findings, each with its first example."""

from bioclip_core.findings import Findings


def test_a_finding_is_one_line_with_its_count_and_its_first_example() -> None:
    findings = Findings()
    assert not findings
    findings.add("dates cannot be read", "row 4: 's.d.'")
    findings.add("rows are longer than the header", "row 5")
    findings.add("dates cannot be read", "row 9: '[1901]'", 1000)
    findings.add("files are empty")
    assert list(findings.lines()) == [
        "dates cannot be read: 1,001 (the first: row 4: 's.d.')",
        "rows are longer than the header: 1 (the first: row 5)",
        "files are empty: 1",
    ]
    assert findings
    assert findings.count("dates cannot be read") == 1001
