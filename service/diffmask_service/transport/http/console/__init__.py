"""The console: a page for trying texts and watching the server, and calls for it.

The calls are those of the gRPC API, answered by the same servicer, with messages as
JSON. Starlette and Uvicorn come with the extra `console`; nothing else imports them.
"""
