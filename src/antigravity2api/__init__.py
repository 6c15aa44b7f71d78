"""Antigravity2API: an OpenAI-compatible gateway in front of the Gemini API and Antigravity."""

__version__ = "0.1.0"
