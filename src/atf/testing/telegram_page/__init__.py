"""A page in the browser to chat with the bot by hand: what people do, with buttons to click."""
