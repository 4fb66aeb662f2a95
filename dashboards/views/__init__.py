"""One function a page; each reads through `dashboards.source` and draws with charts and markup."""
