"""The report of a certificate: what an auditor reads, as a page, as a PDF and as a table of requirements."""
