"""The bot's side of a conversation: commands, who may use them, what is answered; nothing of Telegram's API."""
