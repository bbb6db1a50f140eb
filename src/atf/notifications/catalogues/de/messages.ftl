type-alert = Alarm
type-alert-rearmed = Alarm ist wieder bereit
type-alert-action = Aktion eines Alarms
type-alert-action-failed = Aktion nicht ausgeführt
type-job-watch = Störung bei Aufträgen
type-notification = Nachricht
type-report = Bericht
type-screener = Screener
type-test = Test
type-runs-used-up = Läufe des Tages verbraucht
type-bot = Bots
type-feedback = Rückmeldung
type-registration = Anmeldung
type-code = Code
type-run = Lauf
type-broadcast = Nachricht an alle
type-announcement = Bekanntmachung
type-default = Jede andere Art
type-digest = Sammelnachricht

alert-bar = { $ticker } { $timeframe }, Kerze vom { $at }
alert-late = Verspätet: Die Kerze war schon länger als zwei Zeiteinheiten abgeschlossen.
alert-forming = Die Kerze ist noch nicht abgeschlossen.

action-not-done = Nicht ausgeführt: Was der Alarm auslösen sollte, ist nicht geschehen.
job-watch-why = Geht an alle Administratoren.

run-completed = { $name } ist fertig
run-failed = { $name } ist fehlgeschlagen
run-cancelled = { $name } wurde abgebrochen
run-number = Lauf { $run }, Versuch { $attempt }

report-period = Von { $since } bis { $until }
report-since = Seit { $since }
screener-name = Screener { $name }

digest-title = { $count ->
    [one] { $count } Nachricht
   *[other] { $count } Nachrichten
}
