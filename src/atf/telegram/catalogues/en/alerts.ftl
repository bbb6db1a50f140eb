# What several commands say.
bot-too-slow = This takes longer than { $seconds } seconds, so I stopped waiting. Please try again in a moment.
bot-no-charts = This installation draws no charts; whoever runs it can add the extra: charts
bot-button-previous = ‹ Previous
bot-button-next = Next ›

# Alerts.
alerts-made = I watch it from now on.
alerts-none = You have no alerts. One is as short as: /alert AAPL > 150
alerts-head = Your alerts: { $count }
alerts-words = these are no words for alerts
alerts-no-such = there is no alert { $id }
alerts-card-head = Alert { $id }: { $name }
alerts-unreadable = Its configuration cannot be read, so it is not evaluated.
alerts-unreadable-short = cannot be read
alerts-live = It looks at bars that are still forming: what it tells of may be gone when the bar closes.
alerts-field-status = Status:
alerts-field-fires = Fires:
alerts-field-tells = Tells:
alerts-field-ends = Ends:
alerts-field-does = Also does:
alerts-field-last-trigger = Last trigger:
alerts-field-last-value = Last value:
alerts-field-next-look = Next look:
alerts-status-armed = armed
alerts-status-pending = counting bars
alerts-status-triggered = triggered, not ready again yet
alerts-status-cooldown = cooling down
alerts-status-completed = completed
alerts-status-expired = expired
alerts-status-paused = paused
alerts-data-missing = a value was missing
alerts-data-stale = no new bars arrive
alerts-quiet = quiet
alerts-quiet-until = quiet until { $time }
alerts-fires-simple = on every bar on which it is true
alerts-fires-edge = each time it becomes true
alerts-fires-persistence = each time it becomes true
alerts-fires-hysteresis = each time it becomes true after the value was { $far } away from its level
alerts-fires-crossing = each time it becomes true after the value was on the other side
alerts-fires-cooldown = while it is true
alerts-fires-bars = after { $bars } true bars in a row
alerts-fires-span = at most once in { $span }
alerts-after-triggers = { $count ->
    [one] after 1 trigger
   *[other] after { $count } triggers
}
alerts-or = or
alerts-never = never yet
alerts-trigger = no. { $number }, on the bar of { $bar }
alerts-trigger-seen = no. { $number }, on the bar of { $bar } (acknowledged)
alerts-value = { $values } on the bar of { $bar }
alerts-not-looked-yet = has not looked yet
alerts-paused = Alert { $id } is paused. What happens meanwhile will never trigger it.
alerts-resumed = Alert { $id } watches again, from now on.
alerts-snoozed = Alert { $id } is quiet until { $time }. It goes on recording its triggers.
alerts-unsnoozed = Alert { $id } tells you of its triggers again.
alerts-acknowledged = { $count ->
    [0] There was nothing new to acknowledge at alert { $id }.
    [one] 1 trigger of alert { $id } is acknowledged.
   *[other] { $count } triggers of alert { $id } are acknowledged.
}
alerts-delete-question = Delete alert { $id } ({ $alert })?
alerts-deleted = Alert { $id } is deleted. What it triggered stays on record.
alerts-snooze-span = must be from 15m to 30d, such as 2h, not { $span }
alerts-no-time = must be a time such as 2026-01-05 15:00Z, not { $words }
alerts-would-have = { $count ->
    [0] It would not have triggered on { $bars } bars from { $since } to { $until }.
    [one] It would have triggered once on { $bars } bars from { $since } to { $until }.
   *[other] It would have triggered { $count } times on { $bars } bars from { $since } to { $until }.
}
alerts-would-have-last = The last time: { $bar }.
alerts-button-list = My alerts
alerts-button-show = Alert { $id }
alerts-button-pause = Pause
alerts-button-resume = Resume
alerts-button-snooze1h = Snooze 1 h
alerts-button-snooze1d = Snooze 1 day
alerts-button-unsnooze = End snooze
alerts-button-ack = Acknowledge
alerts-button-explain = Explain
alerts-button-chart = Chart
alerts-button-delete = Delete

# Prices.
prices-tickers = needs 1 to { $most } tickers, and a timeframe behind them if you want
prices-one-ticker = needs one ticker, and a timeframe behind it if you want
prices-timeframe = must be one of { $allowed }, not { $word }
prices-bar = { $timeframe } bar, closed { $time }; before it { $before }
prices-day = { $timeframe } bar of { $date }, closed { $time }; before it { $before }
prices-since-day = { $change } since the close of { $date }
prices-stale = There may be newer bars: no provider answers now.
prices-unknown = nobody here knows this ticker
prices-unknown-at = nobody here knows { $ticker } with bars of { $timeframe }
prices-late = The bars of { $ticker } did not come in time. Please try again in a moment.
prices-late-here = its bars did not come in time; please try again in a moment
prices-none-yet = No bar of { $ticker } has closed yet.
prices-none-yet-here = no bar has closed yet

# A line for each command in the menu, and what it is for.
command-alert = watch something: /alert AAPL > 150
help-alert = Makes an alert of one line: what to watch, a timeframe if it is not 1m, and when to tell you. Such as: AAPL > 150, or: AAPL 1h: rsi(14) > 70 and close crosses above ema(50), cooldown 5m. It tells you here and in the inbox, unless the line has a notify.
command-alerts = your alerts, and what can be done to them
help-alerts = Lists your alerts, the newest first, or shows one of them: /alerts 7. With a word before the number it does something: pause, resume, delete, explain and chart, snooze 7 2h (tells nobody for 15m to 30d), unsnooze, ack. A further page: /alerts page 2.
command-price = what something costs
help-price = Tells the newest closed price of 1 to 5 tickers, and how it has changed: /price AAPL BTC/USDT. With a timeframe at the end it looks at those bars: /price AAPL 1h.
command-chart = a chart of the newest bars
help-chart = Draws the newest bars of a ticker, days if you name no timeframe: /chart AAPL 1h.
