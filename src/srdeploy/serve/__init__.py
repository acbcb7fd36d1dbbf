"""The service: an HTTP API and a page on one shared engine; the only door to FastAPI, uvicorn and prometheus_client."""
