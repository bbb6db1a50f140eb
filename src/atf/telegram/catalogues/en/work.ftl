# What several commands say.
page-previous = ‹ Previous
page-next = Next ›
bot-no-json = must be a JSON object in braces: { $problem }

# Schedules.
schedules-none = You have no schedules. Such as: /schedules add notification me 0 9 * * 1-5 { "{" }"message": "Markets open soon."{ "}" }
schedules-head = Your schedules: { $count }
schedules-words = these are no words for schedules
schedules-add-words = needs a type, a target and a cron
schedules-cron = { $reason }. A cron has 5 fields, or 6 with seconds first: minute hour day month weekday. Allowed are *, numbers, lists 1,15, ranges 1-5, steps */10, names such as mon and jan. Such as: 0 9 * * 1-5
schedules-no-such = there is no schedule { $id }
schedules-card-head = Schedule { $id }: { $name }
schedules-next = Next run:
schedules-rests = paused
schedules-added = Schedule { $id } is added.
schedules-added-unhandled = Schedule { $id } is added, but nothing in this installation does such jobs yet: its runs will fail.
schedules-paused = Schedule { $id } is paused. Its runs that waited are cancelled.
schedules-resumed = Schedule { $id } runs again, from now on.
schedules-run = Schedule { $id } runs now, as run
schedules-delete-question = Delete schedule { $id } ({ $name })? Its runs that wait are cancelled.
schedules-deleted = Schedule { $id } is deleted. What has run stays on record.
schedules-button-pause = Pause
schedules-button-resume = Resume
schedules-button-run = Run now
schedules-button-delete = Delete
schedules-button-list = My schedules
schedules-button-show = Schedule { $id }

# Runs.
runs-started = { $name }: it is being done, and you are told here when it has ended.
runs-number = Run:
runs-head = Your newest runs
runs-none = Nothing has run for you yet.
runs-words = needs the beginning of a run's id, or the number of a page
runs-one = needs the id of one run, or its beginning
runs-cancelled = Run { $run } is cancelled.
runs-asked-to-stop = Run { $run } is running; its worker is asked to stop it.
run-status = Status:
run-status-pending = waits
run-status-running = is running
run-status-stopping = is asked to stop
run-status-completed = done
run-status-failed = failed
run-status-cancelled = cancelled
run-attempt = Attempt:
run-attempt-ended = Attempt { $attempt } { $outcome }
run-due = Due:
run-started = Started:
run-finished = Ended:
run-steps = { $done } of { $total } steps are done.
run-error = Error:
run-button-look = Look
run-button-cancel = Cancel
run-button-list = My runs
report-no-tickers = needs tickers such as AAPL,MSFT or the name of a report: { $reports }
report-no-flag = there is no { $flag }; behind the tickers may stand one of { $timeframes }, charts, and the name of a report
screener-no-set = must be the name of a set, not { $found }

# How everything is.
status-well = Everything runs.
status-unwell = Not everything is well.
status-nothing = Nothing reports that it runs.
status-service-well = { $service }: well
status-service-unwell = { $service }: not well
status-service-silent = { $service }: not heard of for { $span }
status-runs = Runs: { $waiting } waiting, { $running } running
status-no-messages = No message waits.
status-channel = Messages on { $channel }: { $waiting } waiting
status-channel-held = Messages on { $channel }: { $waiting } waiting, { $held } of them for quiet hours or a digest
status-channel-paused = { $channel } is out of order and is tried again at { $time }
status-maintenance = Maintenance is on: the commands of others are not done.
status-details = Details
status-instance = { $service } on { $host }, process { $pid }, version { $version }, since { $time }, seen { $span } ago
status-report = { $system } of { $component }: { $status }
status-more = and { $count } more

# A line for each command in the menu, and what it is for.
command-schedules = what runs when
help-schedules = Lists your schedules, or shows one of them: /schedules 3. add makes one, at the times of a cron on your own clock: /schedules add report daily_summary 30 17 * * 1-5. With seconds a cron has six fields. A name may stand before the cron, in quotes if it ends with a number, and parameters as JSON behind it. pause, resume, run and delete take the number of a schedule. A further page: /schedules page 2.
command-report = make a report of tickers
help-report = Makes a report: /report AAPL,MSFT 1d charts. Behind the tickers may stand a timeframe, charts, and the name of a report. It is done elsewhere, and you are told here when it has ended.
command-screener = screen a set of tickers
help-screener = Screens a set by its name, tickers, or what a JSON object says: /screener sp500, or /screener AAPL,MSFT. You are told here when it has ended.
command-runs = what ran, and how it ended
help-runs = Lists your newest runs, or shows one by the first 6 characters of its id or more. A further page: /runs page 2.
command-cancel = cancel a run
help-cancel = Cancels a run that waits, by its id or the beginning of it; one that is running is asked to stop.
command-status = how everything is
help-status = Says in short which services are well and what waits.
command-health = how everything is
help-health = Says which services are well and what waits; administrators get the details.
