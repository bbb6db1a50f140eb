"""The process of the Telegram bot. aiogram is imported here and nowhere else, as it is slow and heavy."""
