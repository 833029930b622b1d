"""Public fakes and the conformance suite of every port; for tests, ours and yours."""
