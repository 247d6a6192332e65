"""The web UI: pages for the browser, without a build step. `static.find_page` is all that the HTTP server needs."""
