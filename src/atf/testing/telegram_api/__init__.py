"""What the local Telegram's methods do: requests in, checked as Telegram checks them, results or refusals out."""
