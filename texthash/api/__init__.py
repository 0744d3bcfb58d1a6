"""Wire types of the service: requests, answers and problems. Imports pydantic and the standard library alone."""
