"""The strategies that ATF brings along. Only a bot's process may import them: they load Backtrader."""
