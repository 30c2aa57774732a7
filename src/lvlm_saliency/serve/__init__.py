"""An HTTP server with OpenAI's chat API that also explains each generated token, and the page that demonstrates it."""
