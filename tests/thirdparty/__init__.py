"""The tests of projects that others have written, with the kit on every model of theirs.

``tox run -e thirdparty`` runs them; what follows ``--`` names suites (``wagtail``, ``oscar``) and
labels of tests. Each suite is run twice: as its project wrote it, and with the receivers of
``kit.py``. What passes without the kit has to pass with it, but for counts of queries. Meanwhile
triggers note each row that the database changes, and after each test the audit log has to tell
the same, but for what the page "What signals miss" lists.

The projects come from the package registry, tests and all. Nothing of theirs is kept here.
"""
