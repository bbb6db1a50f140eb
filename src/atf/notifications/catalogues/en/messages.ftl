# What people call the types of messages: in lists, and where they choose what goes where.
type-alert = Alert
type-alert-rearmed = Alert is ready again
type-alert-action = Action of an alert
type-alert-action-failed = Action not done
type-job-watch = Trouble with jobs
type-notification = Message
type-report = Report
type-screener = Screener
type-test = Test
type-runs-used-up = Runs of the day used up
type-bot = Bots
type-feedback = Feedback
type-registration = Registration
type-code = Code
type-run = Run
type-broadcast = Message to everybody
type-announcement = Announcement
type-default = Every other type
type-digest = Digest

# The line below the text of an alert. $at is an instant as the reader's language writes it.
alert-bar = { $ticker } { $timeframe }, bar of { $at }
alert-late = Late: the bar had closed more than two timeframes before.
alert-forming = The bar is still forming.

action-not-done = Not done: what the alert was to make happen has not happened.
job-watch-why = Sent to all administrators.

# The end of a run whose user wanted to be told of it. $run is the beginning of its id.
run-completed = { $name } is done
run-failed = { $name } has failed
run-cancelled = { $name } was cancelled
run-number = Run { $run }, attempt { $attempt }

report-period = Since { $since }, until { $until }
report-since = Since { $since }
screener-name = Screener { $name }

# The title of several messages in one.
digest-title = { $count ->
    [one] { $count } message
   *[other] { $count } messages
}
